"""PHP's rules for the names of variables, as php-src's main/php_variables.c has them."""

import pytest

from forebay.schemas.tree import keys_of, nest


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("event", ["event"]),
        ("data[FIELDS][ID]", ["data", "FIELDS", "ID"]),
        ("data[]", ["data", ""]),
        ("a.b c", ["a_b_c"]),
        ("a.b[c.d]", ["a_b", "c.d"]),
        (" a", ["a"]),
        ("data[FIELDS", ["data_FIELDS"]),
        ("a[b]c[d]", ["a", "b"]),
        ("a[b][c", ["a", "b"]),
        ("a[b[c]", ["a", "b[c"]),
        ("a]b", ["a]b"]),
        ("a\0b", ["a"]),
    ],
)
def test_a_path_is_read_as_php_reads_it(path: str, expected: list[str]) -> None:
    assert list(keys_of(path)) == expected


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("a", "1"), ("a", "2")], {"a": "2"}),
        ([("a", "1"), ("a[b]", "2")], {"a": {"b": "2"}}),
        ([("a[b]", "2"), ("a", "1")], {"a": "1"}),
        ([("a[]", "1"), ("a[]", "2")], {"a": ["1", "2"]}),
        ([("a[5]", "x"), ("a[]", "y")], {"a": {"5": "x", "6": "y"}}),
        ([("a[]", "1"), ("a", "2"), ("a[]", "3")], {"a": ["3"]}),
        ([("a[b][]", "1"), ("a[b]", "2"), ("a[c][]", "3")], {"a": {"b": "2", "c": ["3"]}}),
        ([("a[0]", "x"), ("a[1]", "y")], {"a": ["x", "y"]}),
        ([("a[1]", "x"), ("a[0]", "y")], {"a": {"1": "x", "0": "y"}}),
        ([("BOT[567][ID]", "1")], {"BOT": {"567": {"ID": "1"}}}),
        ([("a[__proto__][x]", "1")], {"a": {"__proto__": {"x": "1"}}}),
        ([("[a]", "1"), ("", "2")], {}),
        ([("a[][x]", "1"), ("a[][x]", "2")], {"a": [{"x": "1"}, {"x": "2"}]}),
        ([("0", "a"), ("1", "b")], {"0": "a", "1": "b"}),
    ],
)
def test_pairs_nest_as_in_php(pairs: list[tuple[str, str]], expected: object) -> None:
    paths, values = zip(*pairs, strict=True)

    assert nest(paths, values) == expected
