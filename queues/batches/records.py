"""What of a record can be told before anybody is asked: one that fails would fail its whole batch."""

from forebay.queues.contract import Record
from forebay.queues.errors import RecordRefused

from ..headers import pack

#: A record may have so many bytes, headers included; one that is larger would hold up everybody else.
MAX_RECORD_BYTES = 64 * 1024 * 1024

#: What the key's column takes in every database.
_MAX_KEY_CHARS = 255

#: The signed 64 bits in which times are kept.
_MAX_TIMESTAMP = 2**63 - 1


def packed_headers(record: Record) -> bytes:
    """The record's headers as one value, if the queue can keep the record; else `RecordRefused`."""
    headers = _headers(record)
    size = len(headers) + len(record.value)
    if size > MAX_RECORD_BYTES:
        raise RecordRefused(f"the record has {size} bytes; this queue takes {MAX_RECORD_BYTES}")
    if len(record.key) > _MAX_KEY_CHARS:
        raise RecordRefused(f"the record's key has {len(record.key)} characters; this queue takes {_MAX_KEY_CHARS}")
    if abs(record.timestamp_ms) > _MAX_TIMESTAMP:
        raise RecordRefused(f"the record's time {record.timestamp_ms} is not in milliseconds since the epoch")
    return headers


def _headers(record: Record) -> bytes:
    try:
        record.key.encode()
        return pack(record.headers)
    except UnicodeEncodeError as error:
        raise RecordRefused(f"the record's key or a header's name is no text: {error.reason}") from error
