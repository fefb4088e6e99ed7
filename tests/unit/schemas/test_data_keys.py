from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from forebay.processors.testing import event
from forebay.schemas.data_keys import CannotUnwrap, Named, named, unwrap, wrap, wrapped_with
from forebay.schemas.event import CannotOpenSecrets, PortalEvent, Sealed, SecretsShredded

MINE, OTHERS = Named("m1", "k1"), Named("m2", "k1")
OLD, NEW, DATA_KEY, NONCE = b"o" * 32, b"n" * 32, b"d" * 32, b"1" * 12


@given(st.text(min_size=1, max_size=40), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_a_key_comes_out_of_its_wrapping_by_the_seal_key_that_wrapped_it(
    seal_key_id: str, seal_key: bytes, data_key: bytes
) -> None:
    wrapped = wrap(data_key, MINE, {seal_key_id: seal_key, "old": OLD}, NONCE)

    assert wrapped_with(wrapped) == seal_key_id
    assert unwrap(wrapped, MINE, {seal_key_id: seal_key}) == data_key
    assert unwrap(wrapped, MINE, {seal_key_id: b64encode(seal_key).decode()}) == data_key
    assert data_key not in wrapped


@pytest.mark.parametrize(
    ("whose", "keys", "why"),
    [
        (OTHERS, {"new": NEW}, "does not open the key of portal m2"),
        (MINE, {"old": OLD}, "is wrapped by 'new', which was not given"),
        (MINE, {"new": OLD}, "does not open"),
        (MINE, {"new": b"short"}, "does not open"),
    ],
)
def test_a_wrapping_is_bound_to_its_portal_and_its_seal_key(whose: Named, keys: dict[str, bytes], why: str) -> None:
    wrapped = wrap(DATA_KEY, MINE, {"new": NEW}, NONCE)

    with pytest.raises(CannotUnwrap, match=why):
        unwrap(wrapped, whose, keys)


@given(st.binary(max_size=100))
def test_what_is_no_wrapping_is_said_to_be_none(rubbish: bytes) -> None:
    with pytest.raises(CannotUnwrap):
        unwrap(rubbish, MINE, {"new": NEW})


def test_the_name_of_a_portals_key_is_none_of_a_seal_key() -> None:
    assert named(str(MINE)) == MINE
    assert named("k1") is None and named("portal") is None and named("portal/m1") is None


class Store:
    """Keys of portals, as somebody has them who has read everything, or not."""

    def __init__(self, wrapped: Mapping[Named, bytes], *, is_complete: bool = True) -> None:
        self._wrapped, self._is_complete = wrapped, is_complete

    def wrapped(self, named: Named) -> bytes | None:
        return self._wrapped.get(named)

    def may_come(self, named: Named, sealed_at: datetime) -> bool:
        return not self._is_complete and named not in self._wrapped

    def is_gone(self, named: Named, sealed_at: datetime) -> bool:
        return self._is_complete and sealed_at < datetime.now(UTC)


def sealed_event() -> PortalEvent:
    made = event("ONCRMDEALADD", id="e1")
    ciphertext = AESGCM(DATA_KEY).encrypt(NONCE, b'[["auth[access_token]","t"]]', b"e1")
    sealed = Sealed(key_id=str(MINE), nonce=NONCE, ciphertext=ciphertext)
    fields = ("id", "portal", "member_id", "kind", "name", "occurred_at", "received_at", "subscription")
    return PortalEvent(**{name: getattr(made, name) for name in fields}, body=lambda: made._body, sealed=sealed)


def test_an_event_opens_by_its_portals_key() -> None:
    store = Store({MINE: wrap(DATA_KEY, MINE, {"new": NEW}, NONCE)})

    opened = sealed_event().with_keys_of(store).secrets({"new": NEW})

    assert opened == {"auth[access_token]": "t"}


def test_an_event_opens_with_a_ring_that_has_the_portals_key_itself() -> None:
    assert sealed_event().secrets({str(MINE): DATA_KEY}) == {"auth[access_token]": "t"}


def test_an_event_whose_portals_key_is_gone_says_so() -> None:
    with pytest.raises(SecretsShredded, match="the key of portal m1 is gone"):
        sealed_event().with_keys_of(Store({})).secrets({"new": NEW})


@pytest.mark.parametrize(
    ("store", "why"),
    [
        (None, "give the worker the setting seal_keys"),
        (Store({}, is_complete=False), "is not known here yet"),
        (Store({MINE: wrap(DATA_KEY, MINE, {"newer": OLD}, NONCE)}), "is wrapped by 'newer'"),
    ],
)
def test_what_may_still_come_is_not_said_to_be_gone(store: Store | None, why: str) -> None:
    made = sealed_event()
    if store:
        made.with_keys_of(store)

    with pytest.raises(CannotOpenSecrets, match=why) as raised:
        made.secrets({"new": NEW})

    assert not isinstance(raised.value, SecretsShredded)
