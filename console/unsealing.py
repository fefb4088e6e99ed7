"""The body of a quarantined call as text, opened with the settings' keys where it is sealed, without its secrets."""

from collections.abc import Mapping

from forebay.queues.contract import StoredRecord
from forebay.schemas import names
from forebay.schemas.errors import ForebayError

#: Of a body that is no event, so much is shown.
_SHOWN_CHARS = 4000


class CannotOpen(ForebayError):
    """The body stays closed; the message says which key is missing."""


def body_text(record: StoredRecord, keys: Mapping[str, bytes]) -> str:
    """The beginning of the body. What was not sealed was cut before it was kept, and is shown as it stands."""
    headers = dict(record.headers)
    key_id = headers.get(names.QUARANTINE_KEY_ID)
    body = record.value if key_id is None else _opened(record, key_id.decode(errors="replace"), keys)
    return body[:_SHOWN_CHARS].decode("utf-8", errors="backslashreplace")


def _opened(record: StoredRecord, key_id: str, keys: Mapping[str, bytes]) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from forebay.ingest.seal import cut

    if key_id not in keys:
        raise CannotOpen(f"sealed with key {key_id!r}, which seal_keys does not have; add it there to read the body")
    headers = dict(record.headers)
    nonce, bound_to = headers.get(names.QUARANTINE_NONCE, b""), headers.get(names.QUARANTINE_ID, b"")
    try:
        return cut(AESGCM(keys[key_id]).decrypt(nonce, record.value, bound_to))
    except (InvalidTag, ValueError) as error:
        raise CannotOpen(f"key {key_id!r} of seal_keys is not the one that sealed the body") from error
