from collections.abc import Iterator
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.ingest.form import auth_of, is_deeper, parse
from forebay.ingest.shape import Auth
from forebay.schemas.form import pairs_of
from forebay.schemas.tree import Node, nest

MAX_FIELDS = 5000

Tree = dict[str, "str | Tree"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a=1+2%2B3", {"a": "1 2+3"}),
        (b"a+b=1", {"a b": "1"}),
        (b"a", {"a": ""}),
        (b"a=", {"a": ""}),
        (b"a==b=", {"a": "=b="}),
        (b"a=1&&b=2&", {"a": "1", "b": "2"}),
        (b"a=1;b=2", {"a": "1;b=2"}),
        (b"a=1,2", {"a": "1,2"}),
        (b"a=%zz&b=%&c=%4", {"a": "%zz", "b": "%", "c": "%4"}),
        (b"a=%4a%4A", {"a": "JJ"}),
        (b"data%5BFIELDS%5D%5BID%5D=1", {"data[FIELDS][ID]": "1"}),
        (b"data[FIELDS][ID]=1", {"data[FIELDS][ID]": "1"}),
        (b"a=1&b=2&a=3", {"a": "3", "b": "2"}),
        (b"a[]=1&a[]=2", {"a[]": "2"}),
        (b"a=%D0%B4%D0%B0", {"a": "да"}),
        ("a=да".encode(), {"a": "да"}),
        (b"a=%FF", {"a": "\ufffd"}),
        (b"a=%00", {"a": "\0"}),
    ],
)
def test_a_form_is_read_as_php_reads_it(body: bytes, fields: dict[str, str]) -> None:
    form = parse(body, MAX_FIELDS)

    assert list(form.fields.items()) == list(fields.items())


@pytest.mark.parametrize("body", [b"a=1&a=2", b"a=%FF", b"%FF=a", b"a=1&&b=2", b"a=%EF%BF%BD", b"a=\xff"])
def test_a_form_that_its_fields_might_not_give_back_is_not_regular(body: bytes) -> None:
    assert not parse(body, MAX_FIELDS).regular


def _encode(tree: Tree, prefix: str = "") -> Iterator[str]:
    """PHP's http_build_query."""
    for key, node in tree.items():
        path = f"{prefix}[{key}]" if prefix else key
        if isinstance(node, dict):
            yield from _encode(node, path)
        else:
            yield f"{quote_plus(path)}={quote_plus(node)}"


def _shown(node: "str | Tree") -> Node:
    """A tree as handlers see it: maps of 0…n-1 as lists."""
    if isinstance(node, str):
        return node
    shown = {key: _shown(child) for key, child in node.items()}
    return list(shown.values()) if list(shown) == [str(index) for index in range(len(shown))] else shown


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
key = text.filter(lambda name: name and not set(name) & set("[]\0"))
top_key = key.filter(lambda name: not set(name) & set(" ."))
number = st.integers(0, 600).map(str)
node = st.recursive(text, lambda below: st.dictionaries(key | number, below, min_size=1, max_size=4), max_leaves=20)


@given(st.dictionaries(top_key, node, max_size=5), st.booleans())
def test_any_tree_that_php_encodes_is_read_back(tree: Tree, bare_brackets: bool) -> None:
    body = "&".join(_encode(tree))
    if bare_brackets:
        body = body.replace("%5B", "[").replace("%5D", "]")

    form = parse(body.encode(), MAX_FIELDS)

    assert nest(tuple(form.fields), tuple(form.fields.values())) == {
        name: _shown(child) for name, child in tree.items()
    }


pieces = st.sampled_from(
    [b"a", b"=", b"&", b"%", b"+", b"[", b"]", b"41", b"C3", b"\xff", b";", b"auth[domain]", b"\0"]
)


@given(st.lists(pieces, max_size=30).map(b"".join) | st.binary(max_size=60))
def test_the_fast_and_the_exact_reading_agree_on_every_regular_form(body: bytes) -> None:
    form = parse(body, MAX_FIELDS)

    if form.regular:
        assert [(name.encode(), value.encode()) for name, value in form.fields.items()] == pairs_of(body)


@pytest.mark.parametrize(
    ("body", "auth"),
    [
        (b"auth[domain]=a&auth[application_token]=t", Auth(domain="a", application_token="t")),
        (b"auth%5Bdomain%5D=a", Auth(domain="a")),
        (b"auth=x&auth[domain]=a", Auth(domain="a")),
        (b"auth[domain]=a&auth=x", Auth()),
        (b"auth[domain]=a&auth[domain]=b", Auth(domain="b")),
        (b"auth[domain]=a&auth[domain][x]=b", Auth()),
        (b"auth[domain]junk=a", Auth(domain="a")),
        (b"authority[domain]=a&data[auth][domain]=b", Auth()),
        (b"auth[" + b"x" * 200 + b"]=a", Auth()),
        (b"=a&auth[member_id]=b", Auth(member_id="b")),
    ],
)
def test_auth_is_what_php_makes_of_it(body: bytes, auth: Auth) -> None:
    assert auth_of(parse(body, MAX_FIELDS)) == auth


def test_of_a_form_with_too_many_fields_only_the_auth_is_read() -> None:
    body = b"&".join([b"event=X", *(b"data[%d]=1" % n for n in range(20)), b"auth%5Bdomain%5D=a"])

    form = parse(body, max_fields=20)

    assert (form.whole, dict(form.fields)) == (False, {"auth[domain]": "a"})


def test_a_form_with_just_max_fields_is_read_whole() -> None:
    assert parse(b"&".join(b"a%d=1" % n for n in range(20)), max_fields=20).whole


@pytest.mark.parametrize(
    ("body", "deeper"), [(b"a[b][c]=1", False), (b"a[b][c][d]=1", True), (b"a[b]=1&c[d][e]=1", False)]
)
def test_depth_counts_the_brackets_of_one_field(body: bytes, deeper: bool) -> None:
    assert is_deeper(parse(body, MAX_FIELDS), levels=2) is deeper
