"""What a move leaves in the source, among what operators did: where in the target it began, and that it is done.

So it can be gone on with from any host, and what was moved once is not moved again however its queues are called; and
a host that was forgotten is told. Workers and lists pass such records over.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeAlias

import orjson

from forebay.queues.contract import Inspector, Record, StoredRecord
from forebay.queues.errors import QueueError
from forebay.queues.reading import between
from forebay.schemas import names
from forebay.schemas.portal import partition_of

#: No portal's: its records stand in one partition, in their order.
_KEY = "forebay-move"

#: Stream → partition → its next offset.
Ends: TypeAlias = Mapping[str, Mapping[int, int]]


class UnreadableMarker(QueueError):
    """A marker that another version has left: what became of what waited there can't be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """A move that began, or that came to its end."""

    group: str
    #: The target's name, and where its streams ended when the first record was yet to be moved.
    target: str
    target_ends: Ends
    #: Where the source's streams ended: at the beginning those that dead letters count back from.
    source_ends: Ends
    #: Of the source: what stood before was moved by an earlier move.
    since: Ends
    who: str
    at_ms: int
    is_done: bool = False

    def record(self) -> Record:
        """The marker as a record, which a person can read too."""
        value = orjson.dumps({"what": "move", **asdict(self)}, option=orjson.OPT_NON_STR_KEYS)
        return Record(key=_KEY, value=value, timestamp_ms=self.at_ms)

    @classmethod
    def read(cls, value: bytes) -> Self:
        """The marker that the record is. Raises `ValueError`, `KeyError` or `TypeError` for any other."""
        told: dict[str, Any] = orjson.loads(value)
        if told.pop("what") != "move":
            raise ValueError("something else was done")
        for name in ("target_ends", "source_ends", "since"):
            told[name] = {
                stream: {int(number): int(end) for number, end in numbers.items()}
                for stream, numbers in told[name].items()
            }
        return cls(**told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """What was moved from the queue before counts no more: it is moved into again."""

    #: The name of the queue from which.
    source: str
    who: str
    at_ms: int

    def record(self) -> Record:
        """As a record, which a person can read too."""
        return Record(key=_KEY, value=orjson.dumps({"what": "return", **asdict(self)}), timestamp_ms=self.at_ms)

    @classmethod
    def read(cls, value: bytes) -> Self:
        """The return that the record is. Raises as `Marker.read`."""
        told: dict[str, Any] = orjson.loads(value)
        if told.pop("what") != "return":
            raise ValueError("something else was done")
        return cls(**told)


def read_marker(record: StoredRecord) -> Marker | Return | None:
    """The marker or return that the record is; None when it is none, or another version's."""
    if record.key != _KEY:
        return None
    for kind in (Marker, Return):
        try:
            return kind.read(record.value)
        except (ValueError, KeyError, TypeError):
            continue
    return None


class Markers:
    """Those of a topic, read on from where they were read to before."""

    def __init__(self, topic: str) -> None:
        self._stream = names.audit(topic)
        self._next = 0
        self._last: Marker | None = None

    async def last(self, inspector: Inspector) -> Marker | None:
        """The last move from the queue; None where nothing was moved from it since it was last moved into.

        Raises `QueueError`; the next call reads on.
        """
        number = partition_of(_KEY, await inspector.partitions(self._stream))
        bounds = (await inspector.bounds(self._stream, [number]))[number]
        if bounds.end < self._next:
            # The stream was made anew.
            self._next, self._last = 0, None
        async for record in between(inspector, self._stream, number, max(self._next, bounds.start), bounds.end):
            self._learn(record)
            self._next = record.offset + 1
        return self._last

    def _learn(self, record: StoredRecord) -> None:
        if record.key != _KEY:
            return
        found = read_marker(record)
        if found is None:
            raise UnreadableMarker("a marker of an earlier move can't be read")
        self._last = found if isinstance(found, Marker) else None


async def first_since(inspector: Inspector, topic: str, ends: Ends) -> int | None:
    """The offset of the first marker that was left since the streams ended there."""
    stream = names.audit(topic)
    number = partition_of(_KEY, await inspector.partitions(stream))
    end = (await inspector.bounds(stream, [number]))[number].end
    async for record in between(inspector, stream, number, ends[stream][number], end):
        if record.key == _KEY:
            return record.offset
    return None
