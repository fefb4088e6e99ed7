"""A record as one value, and reading them."""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from forebay.queues.contract import PlacedRecord, Record, StoredRecord

from ..headers import unpack
from .connection import MemcachedConnection
from .streams import Stream

#: Time, length of the key, length of the headers.
_HEAD = Struct(">qII")

#: Items of one question; each has a megabyte at most, unless the server was told otherwise.
_QUESTION = 32


def packed(record: Record, headers: bytes) -> bytes:
    """The record with its headers, which are packed already."""
    key = record.key.encode()
    return b"".join((_HEAD.pack(record.timestamp_ms, len(key), len(headers)), key, headers, record.value))


def _unpacked(stream: str, partition: int, offset: int, item: bytes) -> StoredRecord:
    timestamp_ms, key, headers = _HEAD.unpack_from(item)
    headers_at, value_at = _HEAD.size + key, _HEAD.size + key + headers
    return PlacedRecord(
        stream=stream,
        partition=partition,
        offset=offset,
        key=item[_HEAD.size : headers_at].decode(),
        value=item[value_at:],
        timestamp_ms=timestamp_ms,
        headers=unpack(item[headers_at:value_at]),
    )


@dataclass(frozen=True, slots=True)
class Span:
    """What stands in a span of offsets, and which offsets have nothing."""

    records: Sequence[StoredRecord]
    missing: Sequence[int]
    following: int


def span(connection: MemcachedConnection, stream: Stream, partition: int, offset: int, end: int) -> Span:
    """The first of these offsets, as many as one question takes."""
    offsets = range(offset, min(end, offset + _QUESTION))
    items = connection.get([stream.record(partition, at) for at in offsets])
    found = {at: item for at in offsets if (item := items.get(stream.record(partition, at))) is not None}
    records = [_unpacked(stream.name, partition, at, item) for at, item in found.items()]
    return Span(records, [at for at in offsets if at not in found], offsets.stop)


def bounds(connection: MemcachedConnection, stream: Stream, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
    """The first and the next offset of each partition whose counter is there."""
    ends, starts = [stream.end(at) for at in partitions], [stream.start(at) for at in partitions]
    found = connection.get([*ends, *starts])
    return {
        at: (int(found.get(start, b"0")), int(found[end]))
        for at, end, start in zip(partitions, ends, starts, strict=True)
        if end in found
    }
