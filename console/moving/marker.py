"""What a move leaves in the source, among what operators did: where in the target it began, and that it is done.

So it can be gone on with from any host, and what was moved once is not moved again however its queues are called.
Workers and lists pass such records over.
"""

from dataclasses import asdict, dataclass
from typing import Any, Self

import orjson

from forebay.console.reading import between
from forebay.console.stillness import Ends
from forebay.queues.contract import Inspector, Producer, Record, StoredRecord
from forebay.schemas import names
from forebay.schemas.portal import partition_of

from .errors import CantMove

#: No portal's: its records stand in one partition, in their order.
_KEY = "forebay-move"


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


async def last_marker(inspector: Inspector, topic: str) -> Marker | None:
    """The last one that the source has; None where nothing was moved from it."""
    stream, found = names.audit(topic), None
    bounds = await inspector.bounds(stream)
    number = partition_of(_KEY, len(bounds))
    async for record in between(inspector, stream, number, bounds[number].start, bounds[number].end):
        if record.key == _KEY:
            found = read_marker(record)
            if found is None:
                raise CantMove("a marker of an earlier move can't be read: say --again to go by none")
    return found


def read_marker(record: StoredRecord) -> Marker | None:
    """The marker that the record is; None when it is none, or another version's."""
    try:
        return Marker.read(record.value) if record.key == _KEY else None
    except (ValueError, KeyError, TypeError):
        return None


async def first_since(inspector: Inspector, topic: str, ends: Ends) -> int | None:
    """The offset of the first marker that was left since the streams ended there."""
    stream = names.audit(topic)
    bounds = await inspector.bounds(stream)
    number = partition_of(_KEY, len(bounds))
    async for record in between(inspector, stream, number, ends[stream][number], bounds[number].end):
        if record.key == _KEY:
            return record.offset
    return None


async def put(producer: Producer, topic: str, marker: Marker) -> int:
    """Leave it in the source; its offset."""
    return (await producer.send(names.audit(topic), marker.record())).offset
