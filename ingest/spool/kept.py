"""What stands in the spool: a record with its place, and a checksum over all of it."""

from dataclasses import dataclass
from zlib import crc32

from forebay.queues.contract import Record
from forebay.queues.headers import pack, unpack

#: What a record takes on the disk beside its own bytes.
_AROUND_BYTES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """A record that shall be kept. With an owner, it may still be delivered: the owner will learn of it."""

    stream: str
    record: Record
    owner: str | None = None

    @property
    def size(self) -> int:
        """What it counts against `spool_max_bytes`."""
        record = self.record
        headers = sum(len(name) + len(value) + 8 for name, value in record.headers)
        return len(record.key.encode()) + len(record.value) + headers + _AROUND_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Enough of a kept record to put it in its portal's line."""

    seq: int
    key: str
    size: int
    timestamp_ms: int
    owner: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A kept record. `is_whole` is whether its bytes are those that were written."""

    seq: int
    stream: str
    record: Record
    is_whole: bool


Columns = tuple[str, str, int, bytes, bytes, int]


def columns_of(put: Put) -> Columns:
    """stream, key, timestamp_ms, headers, value, checksum."""
    record = put.record
    headers = pack(record.headers)
    checksum = _checksum(put.stream, record.key, record.timestamp_ms, headers, record.value)
    return put.stream, record.key, record.timestamp_ms, headers, record.value, checksum


def kept_of(seq: int, columns: Columns) -> Kept:
    """The record of a row. Where the checksum is wrong, headers that can't be read are left out."""
    stream, key, timestamp_ms, headers, value, checksum = columns
    is_whole = _checksum(stream, key, timestamp_ms, headers, value) == checksum
    record = Record(
        key=key, value=value, timestamp_ms=timestamp_ms, headers=unpack(headers) if is_whole else (("damaged", b""),)
    )
    return Kept(seq=seq, stream=stream, record=record, is_whole=is_whole)


def _checksum(stream: str, key: str, timestamp_ms: int, headers: bytes, value: bytes) -> int:
    about = f"{stream}\0{key}\0{timestamp_ms}\0".encode()
    return crc32(value, crc32(headers, crc32(about)))
