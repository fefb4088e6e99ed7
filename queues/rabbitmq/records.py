"""Records as payloads. All of a record is in the body: properties and headers of a message change on a stream's way."""

from struct import Struct, error

from forebay.queues.contract import PlacedRecord, Record
from forebay.queues.errors import RecordRefused
from forebay.queues.headers import pack, unpack

from .places import payload

#: Time, and the lengths of key and headers; then key, headers, value.
_HEAD = Struct(">qII")

#: What RabbitMQ 4 takes by default, with room for what stands around a record.
MAX_RECORD_BYTES = 16 * 1024 * 1024 - 4096


def packed(record: Record) -> bytes:
    """The record. Raises `RecordRefused`."""
    try:
        key, headers = record.key.encode(), pack(record.headers)
        head = _HEAD.pack(record.timestamp_ms, len(key), len(headers))
    except UnicodeEncodeError as fault:
        raise RecordRefused(f"the record's key or a header's name is no text: {fault.reason}") from fault
    except error as fault:
        raise RecordRefused(
            f"the record's time {record.timestamp_ms} is not in milliseconds since the epoch"
        ) from fault
    whole = b"".join((head, key, headers, record.value))
    if len(whole) > MAX_RECORD_BYTES:
        raise RecordRefused(f"the record has {len(whole)} bytes; the RabbitMQ queue takes {MAX_RECORD_BYTES}")
    return whole


def record(stream: str, partition: int, offset: int, entry: bytes) -> PlacedRecord | None:
    """The record that stands there; None when no record of ours does."""
    found = payload(entry)
    if found is None:
        return None
    timestamp_ms, key, headers = _HEAD.unpack_from(found)
    at = _HEAD.size + key
    return PlacedRecord(
        key=found[_HEAD.size : at].decode(),
        value=found[at + headers :],
        timestamp_ms=timestamp_ms,
        headers=unpack(found[at : at + headers]),
        stream=stream,
        partition=partition,
        offset=offset,
    )
