"""Tokens as they are kept."""

from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from forebay.queues.portals.tokens import TokenKeys

NEW, OLD = b"n" * 32, b"o" * 32
TEXT = st.text(max_size=40)


@given(TEXT, TEXT, TEXT)
def test_a_hash_is_that_of_the_first_key_and_the_others_are_tried(app: str, member: str, token: str) -> None:
    both = TokenKeys({"new": NEW, "old": OLD})

    found = list(both.digests(app, member, token))

    assert found == [TokenKeys({"a": key}).digest(app, member, token) for key in (NEW, OLD)]
    assert both.digest(app, member, token) == found[0]
    assert both.find({found[1]: "it"}, app, member, token) == "it"
    assert both.find({found[1]: "it"}, app, member, token + ".") is None
    assert both.id == "new"


@given(st.lists(st.tuples(TEXT.filter(lambda text: "\0" not in text), st.text("abc", max_size=3), TEXT), unique=True))
def test_no_two_tokens_meet(given: list[tuple[str, str, str]]) -> None:
    keys = TokenKeys({"k": NEW})

    assert len({keys.digest(*one) for one in given}) == len(given)


@given(TEXT)
def test_what_is_sealed_is_opened_by_the_same_key_and_for_the_same_token_only(trial: str) -> None:
    keys, digest = TokenKeys({"k": NEW}), b"d" * 16

    sealed = keys.seal(trial, digest, b"n" * 12)

    assert keys.unsealed(sealed, digest, "k") == trial.encode("utf-8", "replace").decode()
    assert keys.unsealed(sealed, b"e" * 16, "k") is None
    assert keys.unsealed(sealed, digest, "another") is None
    assert TokenKeys({"k": OLD}).unsealed(sealed, digest, "k") is None
    assert keys.unsealed(sealed[:5], digest, "k") is None


def test_the_hash_is_not_made_by_the_seal_key_itself() -> None:
    by_the_seal_key = blake2b(b"app\0member\0token", key=NEW, digest_size=16).digest()

    assert TokenKeys({"k": NEW}).digest("app", "member", "token") != by_the_seal_key
