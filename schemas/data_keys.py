"""Keys for the secrets of one portal: how an event names them, and how a seal key wraps them.

A data key is 32 random bytes. It is kept in the store of portals, encrypted (AES-256-GCM) by a seal key, its own name
as associated data; an event has no more of it than the name, as its `key_id`. So when the store has forgotten it,
nobody can open what it sealed, whoever has the seal keys.
"""

from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from .errors import ForebayError

#: How the name of a data key begins. No id of a seal key may begin so.
PREFIX = "portal/"

_VERSION = b"\x01"
_ID_BYTES_AT, _ID_AT = 1, 3
_NONCE_BYTES = 12


class CannotUnwrap(ForebayError):
    """The data key can't be had: its seal key was not given, or is another one, or the wrapping is broken."""


class Named(NamedTuple):
    """Whose key it is, and which one."""

    member_id: str
    id: str

    def __str__(self) -> str:
        return f"{PREFIX}{self.member_id}/{self.id}"


class WrappedKeys(Protocol):
    """Knows the wrapped data keys. Thread-safe, never blocks."""

    def wrapped(self, named: Named) -> bytes | None:
        """The key as it is kept; None when none is known here by that name."""

    def may_come(self, named: Named, sealed_at: datetime) -> bool:
        """Whether a key that was made then is not known here, and may be in a moment."""

    def is_gone(self, named: Named, sealed_at: datetime) -> bool:
        """Whether a key that was there then, and is not known here, is surely gone."""


class KnownKey(NamedTuple):
    """What was known of one data key, as `WrappedKeys`: for a process that has no store."""

    key: bytes | None
    gone: bool

    def wrapped(self, named: Named) -> bytes | None:
        """As in the protocol."""
        return self.key

    def may_come(self, named: Named, sealed_at: datetime) -> bool:
        """As in the protocol: here none does."""
        return False

    def is_gone(self, named: Named, sealed_at: datetime) -> bool:
        """As in the protocol."""
        return self.gone


def named(key_id: str) -> Named | None:
    """The data key that a `key_id` names; None for that of a seal key."""
    member_id, slash, id = key_id.removeprefix(PREFIX).partition("/")
    return Named(member_id, id) if key_id.startswith(PREFIX) and slash else None


def wrap(data_key: bytes, whose: Named, seal_keys: Mapping[str, bytes], nonce: bytes) -> bytes:
    """The data key, encrypted with the first of the seal keys; the nonce has 12 bytes."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    seal_key_id, seal_key = next(iter(seal_keys.items()))
    raw_id = seal_key_id.encode()
    ciphertext = AESGCM(seal_key).encrypt(nonce, data_key, str(whose).encode())
    return _VERSION + len(raw_id).to_bytes(_ID_AT - _ID_BYTES_AT) + raw_id + nonce + ciphertext


def wrapped_with(wrapped: bytes) -> str:
    """The id of the seal key that wrapped it. Raises `CannotUnwrap`."""
    return _parts(wrapped)[0]


def unwrap(wrapped: bytes, whose: Named, seal_keys: Mapping[str, str | bytes]) -> bytes:
    """The data key. Seal keys may be base64, as in the settings. Raises `CannotUnwrap`."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    seal_key_id, nonce, ciphertext = _parts(wrapped)
    seal_key = seal_keys.get(seal_key_id)
    if seal_key is None:
        raise CannotUnwrap(f"the key of portal {whose.member_id} is wrapped by {seal_key_id!r}, which was not given")
    try:
        return AESGCM(raw(seal_key)).decrypt(nonce, ciphertext, str(whose).encode())
    except (InvalidTag, ValueError) as error:
        raise CannotUnwrap(f"key {seal_key_id!r} does not open the key of portal {whose.member_id}") from error


def raw(key: str | bytes) -> bytes:
    """The bytes of a key that may be base64. Raises `ValueError`."""
    return key if isinstance(key, bytes) else b64decode(key, validate=True)


def _parts(wrapped: bytes) -> tuple[str, bytes, bytes]:
    """The seal key's id, the nonce, the ciphertext."""
    nonce_at = _ID_AT + int.from_bytes(wrapped[_ID_BYTES_AT:_ID_AT])
    ciphertext_at = nonce_at + _NONCE_BYTES
    if wrapped[:_ID_BYTES_AT] != _VERSION or len(wrapped) <= ciphertext_at:
        raise CannotUnwrap("the key of a portal is wrapped in a way that is not known here, perhaps by a newer Forebay")
    try:
        return wrapped[_ID_AT:nonce_at].decode(), wrapped[nonce_at:ciphertext_at], wrapped[ciphertext_at:]
    except UnicodeDecodeError as error:
        raise CannotUnwrap("the wrapping of a portal's key is broken") from error
