"""The body of a quarantined call, opened with the settings' keys where it is sealed; as text without its secrets."""

from collections.abc import Mapping

from forebay.queues.contract import StoredRecord
from forebay.schemas import names
from forebay.schemas.data_keys import named
from forebay.schemas.errors import ForebayError

#: Of a body that is no event, so much is shown.
_SHOWN_CHARS = 4000


class CannotOpen(ForebayError):
    """The body stays closed; the message says which key is missing."""


def body_text(record: StoredRecord, keys: Mapping[str, bytes]) -> str:
    """The beginning of the body. What was not sealed was cut before it was kept, and is shown as it stands."""
    from forebay.ingest.seal import cut

    body = opened_body(record, keys)
    shown = cut(body) if names.QUARANTINE_KEY_ID in dict(record.headers) else body
    return shown[:_SHOWN_CHARS].decode("utf-8", errors="backslashreplace")


def _why_not(key_id: str) -> str:
    if whose := named(key_id):
        return (
            f"sealed with the key of portal {whose.member_id}, which can't be had: it was shredded, or the key of "
            "seal_keys that wraps it is missing"
        )
    return f"sealed with key {key_id!r}, which seal_keys does not have; add it there to read the body"


def opened_body(record: StoredRecord, keys: Mapping[str, bytes]) -> bytes:
    """The body as it came, with its secrets where it is sealed. Raises `CannotOpen`."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    headers = dict(record.headers)
    if names.QUARANTINE_KEY_ID not in headers:
        return record.value
    key_id = headers[names.QUARANTINE_KEY_ID].decode(errors="replace")
    if key_id not in keys:
        raise CannotOpen(_why_not(key_id))
    nonce, bound_to = headers.get(names.QUARANTINE_NONCE, b""), headers.get(names.QUARANTINE_ID, b"")
    try:
        return AESGCM(keys[key_id]).decrypt(nonce, record.value, bound_to)
    except (InvalidTag, ValueError) as error:
        raise CannotOpen(f"key {key_id!r} of seal_keys is not the one that sealed the body") from error
