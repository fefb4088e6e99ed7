from hmac import compare_digest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.ingest.address import NOTHING, Address, address_of
from forebay.ingest.authenticate import Gate, Proofs, Sender
from forebay.ingest.errors import NotOurPortal
from forebay.ingest.shape import Auth
from forebay.schemas.portal import normal_form

MEMBER = "d897063e1ce7c5eb9f04b9751eef5915"
SECRET = b"s3cret-s3cret-s3cret"
NEXT = b"n3xt-n3xt-n3xt-n3xt"
NOWHERE = Address(path="", query="")


def gate(**tokens: str) -> Gate:
    listed = {name.replace("_", "."): (token.encode(),) for name, token in tokens.items()}
    return Gate(Proofs(anyone=False, tokens=listed, secrets=()), key_is_member_id=False)


def auth(token: str = "t", domain: str = "a.ru", member_id: str = MEMBER) -> Auth:  # noqa: S107 - nobody's
    return Auth(domain=domain, member_id=member_id, application_token=token)


@pytest.mark.parametrize(
    ("listed", "sent"),
    [
        (gate(a_ru="t"), auth()),
        (gate(a_ru="t"), auth(domain="https://A.RU./rest/", member_id="")),
        (gate(**{MEMBER: "t"}), auth(domain="")),
        (gate(**{MEMBER: "t"}), auth(domain="not a domain", member_id=MEMBER.upper())),
        (gate(**{"*": "t"}), auth()),
        (gate(b_ru="u", **{"*": "t"}), auth()),
        (gate(a_ru="u", **{"*": "t"}), auth()),
    ],
)
def test_a_listed_token_lets_in(listed: Gate, sent: Auth) -> None:
    assert listed.admit(sent, NOWHERE).verified


@pytest.mark.parametrize(
    ("listed_as", "key_is_member_id", "portal", "proved"),
    [(MEMBER, False, "a.ru", MEMBER), ("a.ru", True, MEMBER, None)],
)
def test_a_token_listed_for_the_name_that_is_not_the_key_lets_in_and_does_not_verify_the_key(
    listed_as: str, key_is_member_id: bool, portal: str, proved: str | None
) -> None:
    proofs = Proofs(anyone=False, tokens={listed_as: (b"t",)}, secrets=())

    sender = Gate(proofs, key_is_member_id=key_is_member_id).admit(auth(), NOWHERE)

    assert (sender.portal, sender.verified, sender.proved_member) == (portal, False, proved)


@pytest.mark.parametrize(
    ("listed", "sent"),
    [
        (gate(a_ru="t"), auth(token="u")),
        (gate(a_ru="t"), auth(token="")),
        (gate(a_ru="t"), auth(domain="b.ru")),
        (gate(a_ru="t"), auth(domain="")),
        (gate(a_ru="t"), Auth()),
        (gate(a_ru="t"), auth(token="0" * 32, domain="b.ru")),
        # A holder of one portal's token must not speak for another portal that is listed.
        (gate(b_ru="u", **{MEMBER: "t"}), auth(domain="b.ru")),
        (gate(**{"*": "t"}), auth(token="ü")),
    ],
)
def test_anything_else_is_refused(listed: Gate, sent: Auth) -> None:
    with pytest.raises(NotOurPortal) as refusal:
        listed.admit(sent, NOWHERE)

    assert "a.ru" not in str(refusal.value)


@pytest.mark.parametrize(
    ("key_is_member_id", "sent", "portal"),
    [
        (False, auth(domain="A.ru."), "a.ru"),
        (False, auth(domain="not a domain"), MEMBER),
        (True, auth(), MEMBER),
        (True, auth(member_id="not/one"), "a.ru"),
        (False, auth(domain="/", member_id="/"), None),
    ],
)
def test_the_key_is_one_name_of_the_portal_or_else_the_other(
    key_is_member_id: bool, sent: Auth, portal: str | None
) -> None:
    anyone = Gate(Proofs(anyone=True, tokens={}, secrets=()), key_is_member_id=key_is_member_id)

    sender = anyone.admit(sent, NOWHERE)

    assert (sender.portal, sender.verified) == (portal, False)


def test_a_domain_that_is_too_long_is_not_remembered() -> None:
    anyone = Gate(Proofs(anyone=True, tokens={}, secrets=()), key_is_member_id=False)
    before = normal_form.cache_info().currsize

    sender = anyone.admit(auth(domain="https://a-portal-that-was-never-seen.ru/" + "x" * 300), NOWHERE)

    assert sender.portal == MEMBER
    assert normal_form.cache_info().currsize == before


def test_so_many_senders_are_remembered_and_none_of_unusual_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.ingest.authenticate._REMEMBERED", 3)
    anyone = Gate(Proofs(anyone=True, tokens={}, secrets=()), key_is_member_id=False)
    remembered = []

    for number in range(7):
        anyone.admit(auth(domain=f"{number}.ru"), NOTHING)
        anyone.admit(auth(domain=f"{'x' * 500}{number}.ru"), NOTHING)
        remembered.append(len(anyone._remembered))

    assert remembered == [1, 2, 3, 1, 2, 3, 1]


def knock(rest: str, query: bytes) -> Sender:
    both = Gate(Proofs(anyone=False, tokens={"*": (b"t",)}, secrets=(SECRET, NEXT)), key_is_member_id=False)
    return both.admit(auth(token=""), address_of(rest, query))


@pytest.mark.parametrize(
    ("rest", "query", "kept"),
    [
        (SECRET.decode(), b"", Address(path="", query="")),
        (f"{SECRET.decode()}/shop/1", b"deal=7", Address(path="shop/1", query="deal=7")),
        ("shop", b"deal=7&secret=" + SECRET + b"&x=%D0", Address(path="shop", query="deal=7&x=%D0")),
        ("", b"secret=wrong&%73ecret=" + SECRET, Address(path="", query="")),
        ("", b"a=\xff&secret=" + SECRET, Address(path="", query="a=%FF")),
        # And wherever else it stands.
        ("", b"secret=" + SECRET + b"&x=" + SECRET + b"&y=1", Address(path="", query="y=1")),
        (f"both/wrong/{SECRET.decode()}", b"secret=" + SECRET, Address(path="both/wrong", query="")),
        (SECRET.decode(), b"u=https://x/%73" + SECRET[1:] + b"/1&" + SECRET, Address(path="", query="")),
        # While one takes the place of another both let in, and neither is kept.
        (NEXT.decode(), b"", Address(path="", query="")),
        (f"shop/{SECRET.decode()}", b"secret=" + NEXT + b"&x=" + SECRET, Address(path="shop", query="")),
    ],
)
def test_a_secret_in_the_url_lets_in_and_is_taken_out(rest: str, query: bytes, kept: Address) -> None:
    sender = knock(rest, query)

    assert (sender.address, sender.verified, sender.proved_member) == (kept, True, MEMBER)


@pytest.mark.parametrize(
    ("rest", "query"),
    [
        ("", b""),
        ("wrong", b""),
        (f"shop/{SECRET.decode()}", b""),
        (SECRET.decode()[:-1], b""),
        ("", b"Secret=" + SECRET),
        ("", b"secret=" + SECRET + b"&secret=wrong"),
    ],
)
def test_a_wrong_secret_is_refused(rest: str, query: bytes) -> None:
    with pytest.raises(NotOurPortal):
        knock(rest, query)


def test_every_secret_is_compared_whether_or_not_one_has_matched(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def watched(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return compare_digest(one, other)

    monkeypatch.setattr("forebay.ingest.authenticate.hmac.compare_digest", watched)
    knock(SECRET.decode(), b"")
    assert compared == [b"t", SECRET, NEXT, SECRET, NEXT]

    compared.clear()
    with pytest.raises(NotOurPortal):
        knock("wrong", b"secret=wrong")
    assert compared == [b"t", SECRET, NEXT, SECRET, NEXT]


def test_parameters_with_the_name_of_a_secret_are_never_kept() -> None:
    sender = knock(SECRET.decode(), b"a=1&access_token=x&auth%5Bapplication_token%5D=y&AUTH_ID=z&REFRESH_ID=r&b=2")

    assert sender.address.query == "a=1&b=2"


_NAMES = st.sampled_from(["", "a.ru", "A.ru", "b.ru", "not a domain", MEMBER])
_CALLS = st.lists(st.tuples(_NAMES, _NAMES, st.sampled_from(["", "t", "u", "*"]), st.sampled_from(["", "rule"])))


@given(_CALLS, st.booleans())
def test_whom_a_gate_has_let_in_before_changes_nothing(calls: list[tuple[str, ...]], key_is_member_id: bool) -> None:
    proofs = Proofs(anyone=False, tokens={"a.ru": (b"t",), MEMBER: (b"u",), "*": (b"*",)}, secrets=())
    gate = Gate(proofs, key_is_member_id=key_is_member_id)

    for domain, member_id, token, path in calls:
        sent, address = auth(token, domain, member_id), address_of(path, b"")
        anew = Gate(proofs, key_is_member_id=key_is_member_id)

        assert _told(gate, sent, address) == _told(anew, sent, address)


def _told(gate: Gate, sent: Auth, address: Address) -> Sender | str:
    try:
        return gate.admit(sent, address)
    except NotOurPortal as refusal:
        return str(refusal)
