"""Application tokens as they are kept: as keyed hashes, and nothing else of them.

The key is derived from a seal key, so there is one secret to look after. The first seal key hashes; what another one
hashed is found too, and is hashed anew when its portal calls. A hash is looked up and never compared: how long that
takes tells nothing of a token to who doesn't have the key.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_Known = TypeVar("_Known")

_KEY_BYTES = 32
_NONCE_BYTES = 12

#: No two tokens meet, and none is found by trying.
_DIGEST_BYTES = 16

_FOR_HASHES, _FOR_TRIALS = b"forebay application tokens", b"forebay trials of application tokens"


class TokenKeys:
    """The keys of a process, by the ids of the seal keys that they come from."""

    def __init__(self, seal_keys: Mapping[str, bytes]) -> None:
        # Copied for each hash: to begin one with its key costs as much again.
        self._begun = [blake2b(key=_derived(key, _FOR_HASHES), digest_size=_DIGEST_BYTES) for key in seal_keys.values()]
        self._ciphers = {key_id: AESGCM(_derived(key, _FOR_TRIALS)) for key_id, key in seal_keys.items()}
        self.ids = frozenset(seal_keys)
        #: The one that hashes from now on; empty without any.
        self.id = next(iter(seal_keys), "")

    def digest(self, application: str, member_id: str, token: str) -> bytes:
        """The hash under the first key."""
        return next(self.digests(application, member_id, token))

    def digests(self, application: str, member_id: str, token: str) -> Iterator[bytes]:
        """The hash under each key, the first one first. It is that of this member's and this application's token."""
        text = _text(application, member_id, token)
        for begun in self._begun:
            hashed = begun.copy()
            hashed.update(text)
            yield hashed.digest()

    def find(self, known: Mapping[bytes, _Known], application: str, member_id: str, token: str) -> _Known | None:
        """What is known under the token's hash by any of the keys."""
        text = _text(application, member_id, token)
        # As `digests`, without a generator: every call of a portal comes by here.
        for begun in self._begun:
            hashed = begun.copy()
            hashed.update(text)
            found = known.get(hashed.digest())
            if found is not None:
                return found
        return None

    def seal(self, trial: str, digest: bytes, nonce: bytes) -> bytes:
        """What a token may still be verified with, encrypted; it is bound to the token. The nonce has 12 bytes."""
        return nonce + self._ciphers[self.id].encrypt(nonce, trial.encode("utf-8", "replace"), digest)

    def unsealed(self, sealed: bytes, digest: bytes, key_id: str) -> str | None:
        """The same in clear; None when no key of ours opens it."""
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            return None
        try:
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], digest).decode()
        except (InvalidTag, ValueError):
            return None


def _text(application: str, member_id: str, token: str) -> bytes:
    # Neither of the first two has a zero byte, so no two of them are the same text.
    return f"{application}\0{member_id}\0{token}".encode("utf-8", "replace")


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=purpose).derive(key)
