"""Secrets out of what is kept: encrypted when there is a key, gone when there is none."""

from collections.abc import Mapping
from urllib.parse import unquote_plus

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from forebay.schemas.codec import packed, packed_body
from forebay.schemas.event import Body, Sealed
from forebay.schemas.form import Pair, as_text, pairs_of
from forebay.schemas.secrecy import Secrecy, secrecy_of

from .form import Form
from .portals.keys import PortalKeys

Secrets = list[tuple[str, str]]


class Sealer:
    """Encrypts with the portal's own key, or where it has none with the first of the seal keys (id → 32 bytes).

    Without a seal key nothing secret is kept.
    """

    def __init__(self, keys: Mapping[str, bytes], portal_keys: PortalKeys | None = None) -> None:
        key_id, key = next(iter(keys.items()), ("", b""))
        self._direct = (key_id, AESGCM(key)) if key else None
        self._portal_keys = portal_keys

    def seal(self, secrets: Secrets, event_id: str, member_id: str | None = None) -> Sealed | None:
        """The secrets of an event, or None where there are none or no key. The member must be proved."""
        if not secrets or self._direct is None:
            return None
        return self._sealed(self._direct, orjson.dumps(secrets), event_id, member_id)

    def seal_whole(self, body: bytes, call_id: str, member_id: str | None = None) -> Sealed | None:
        """A body that was not read; None without a key, and then it may only be kept `cut`."""
        return None if self._direct is None else self._sealed(self._direct, body, call_id, member_id)

    def _sealed(self, direct: tuple[str, AESGCM], plain: bytes, bound_to: str, member_id: str | None) -> Sealed:
        own = self._portal_keys.cipher(member_id) if self._portal_keys is not None and member_id else None
        key_id, cipher = own or direct
        return Sealed.by(cipher, key_id, plain, bound_to)


def divide(form: Form) -> tuple[bytes, Secrets]:
    """The form's pairs without what is secret, `packed`, and the secrets that may be sealed.

    What is dropped is in neither.
    """
    return _divide_regular(form) if form.regular else _divide_exactly(form)


def _divide_regular(form: Form) -> tuple[bytes, Secrets]:
    fields, shape = form.fields, form.shape
    secrets = [(path, fields[path]) for path in shape.sealable]
    return packed(shape.open_names, [fields[path] for path in shape.open]), secrets


def _divide_exactly(form: Form) -> tuple[bytes, Secrets]:
    kept: list[Pair] = []
    secrets: Secrets = []
    for path, value in pairs_of(form.body):
        match secrecy_of(as_text(path)):
            case Secrecy.OPEN:
                kept.append((path, value))
            case Secrecy.SEALED:
                secrets.append((as_text(path), as_text(value)))
    return packed_body(Body.of(tuple(kept))), secrets


def cut(body: bytes) -> bytes:
    """A body that was not read, each pair with a secret's name as `name=`."""
    return b"&".join(map(_cut_pair, body.split(b"&")))


def _cut_pair(part: bytes) -> bytes:
    name, equals, _ = part.partition(b"=")
    path = unquote_plus(as_text(name))
    return part if secrecy_of(path) is Secrecy.OPEN else name + equals
