from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.ingest import shape
from forebay.ingest.form import Form, parse
from forebay.ingest.seal import Sealer, Secrets, cut, divide
from forebay.schemas.codec import codec
from forebay.schemas.event import Body, CannotOpenSecrets, _open
from forebay.schemas.secrecy import Secrecy, secrecy_of

ID = "01a210a1-4cbc-7e47-8967-ddadea396937"
OLD, NEW = b"o" * 32, b"n" * 32


def divided(form: Form) -> tuple[Body, Secrets]:
    body, secrets = divide(form)
    value = codec().pack(ID, "a.ru", None, "event", "X", None, 0, "online", None, "/", True, "", "", None, None, body)
    return codec().decode(value)._body, secrets


@pytest.mark.parametrize(
    ("path", "secrecy"),
    [
        ("auth[application_token]", Secrecy.DROPPED),
        ("auth[refresh_token]", Secrecy.DROPPED),
        ("data[BOT][567][AUTH][application_token]", Secrecy.DROPPED),
        ("data[COMMAND][1][REFRESH_TOKEN]", Secrecy.DROPPED),
        ("APPLICATION_TOKEN", Secrecy.DROPPED),
        ("REFRESH_ID", Secrecy.DROPPED),
        ("data[client_secret]", Secrecy.DROPPED),
        ("auth[application_token][]", Secrecy.DROPPED),
        ("auth[application_token]x", Secrecy.DROPPED),
        (" application.token", Secrecy.DROPPED),
        ("application_token\0x", Secrecy.DROPPED),
        ("x" * 200 + "[refresh_token]", Secrecy.DROPPED),
        ("auth[access_token]", Secrecy.SEALED),
        ("data[bot][auth][access_token]", Secrecy.SEALED),
        ("event_token", Secrecy.SEALED),
        ("AUTH_ID", Secrecy.SEALED),
        ("data[TOKEN]", Secrecy.SEALED),
        ("data[BOT][567][client_id]", Secrecy.SEALED),
        ("data[bot][auth][CLIENT_ID]", Secrecy.SEALED),
        ("data[FIELDS][CLIENT_ID]", Secrecy.OPEN),
        ("client_id", Secrecy.OPEN),
        ("data[FIELDS][TOKEN]", Secrecy.OPEN),
        ("auth[domain]", Secrecy.OPEN),
        ("auth[user_id]", Secrecy.OPEN),
        ("data[PARAMS][MESSAGE]", Secrecy.OPEN),
    ],
)
def test_a_field_is_secret_by_its_name(path: str, secrecy: Secrecy) -> None:
    assert secrecy_of(path) is secrecy


def test_a_regular_form_is_divided_into_what_stays_and_what_is_sealed() -> None:
    form = parse(b"event=X&auth[access_token]=a&auth[application_token]=b&auth[domain]=c", 100)

    body, secrets = divided(form)

    assert dict(body.fields) == {"event": "X", "auth[domain]": "c"}
    assert body.as_sent is None
    assert secrets == [("auth[access_token]", "a")]


def test_of_a_form_whose_shape_is_not_remembered_each_name_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def noted(path: str) -> Secrecy:
        seen.append(path)
        return secrecy_of(path)

    monkeypatch.setattr(shape, "secrecy_of", noted)
    form = parse(b"&".join(b"a[%d]=1" % number for number in range(500)), 5000)

    divide(form)

    assert seen == list(form.fields)


def test_an_irregular_form_keeps_its_pairs_as_sent() -> None:
    form = parse(b"a=1&b=%FF&auth[access_token]=x&a=2&auth[refresh_token]=y", 100)

    body, secrets = divided(form)

    assert dict(body.fields) == {"a": "2", "b": "\ufffd"}
    assert body.as_sent == ((b"a", b"1"), (b"b", b"\xff"), (b"a", b"2"))
    assert secrets == [("auth[access_token]", "x")]


def test_a_form_that_is_irregular_only_in_its_separators_needs_no_pairs() -> None:
    body, _ = divided(parse(b"a=1&&b=%EF%BF%BD&", 100))

    assert (dict(body.fields), body.as_sent) == ({"a": "1", "b": "\ufffd"}, None)


def test_the_first_key_seals_and_each_opens_what_it_sealed() -> None:
    secrets = [("auth[access_token]", "à"), ("event_token", "b")]

    sealed = Sealer({"new": NEW, "old": OLD}).seal(secrets, ID)

    assert sealed and sealed.key_id == "new"
    assert _open(sealed, ID, b64encode(NEW).decode()) == dict(secrets)


def test_a_seal_is_bound_to_its_event() -> None:
    sealed = Sealer({"k": NEW}).seal([("event_token", "b")], ID)

    assert sealed
    with pytest.raises(CannotOpenSecrets):
        _open(sealed, ID.replace("0", "1"), NEW)


def test_without_a_key_nothing_secret_is_kept() -> None:
    sealer = Sealer({})

    assert sealer.seal([("event_token", "b")], ID) is None
    assert sealer.seal_whole(b"x", ID) is None


def test_an_event_without_secrets_is_not_sealed() -> None:
    assert Sealer({"k": NEW}).seal([], ID) is None


def test_a_body_that_was_not_read_loses_the_values_of_its_secrets() -> None:
    body = b"a=1&auth%5Baccess_token%5D=x&b&&AUTH%5BREFRESH_TOKEN%5D=y&%61pplication_token=z=z&event_token"

    assert cut(body) == b"a=1&auth%5Baccess_token%5D=&b&&AUTH%5BREFRESH_TOKEN%5D=&%61pplication_token=&event_token"


@given(st.binary(max_size=80))
def test_cutting_changes_nothing_else(body: bytes) -> None:
    assert cut(body) == body
