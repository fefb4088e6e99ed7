"""What of a record can be told before anybody is asked."""

from dataclasses import dataclass

from forebay.queues.contract import Record
from forebay.queues.errors import RecordRefused

from ..headers import pack

#: The signed 64 bits in which times are kept.
_MAX_TIMESTAMP = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one kind of queue takes. One record that fails would fail its whole batch."""

    kind: str
    record_bytes: int
    key_chars: int

    def packed(self, record: Record) -> bytes:
        """The record's headers as one value, if the queue can keep the record; else `RecordRefused`."""
        headers = _headers(record)
        size = len(headers) + len(record.value)
        if size > self.record_bytes:
            raise RecordRefused(f"the record has {size} bytes; the {self.kind} queue takes {self.record_bytes}")
        if len(record.key) > self.key_chars:
            raise RecordRefused(
                f"the record's key has {len(record.key)} characters; the {self.kind} queue takes {self.key_chars}"
            )
        if abs(record.timestamp_ms) > _MAX_TIMESTAMP:
            raise RecordRefused(f"the record's time {record.timestamp_ms} is not in milliseconds since the epoch")
        return headers


def _headers(record: Record) -> bytes:
    try:
        record.key.encode()
        return pack(record.headers)
    except UnicodeEncodeError as error:
        raise RecordRefused(f"the record's key or a header's name is no text: {error.reason}") from error
