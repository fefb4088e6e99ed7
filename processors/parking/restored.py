"""Records that waited somewhere else, as the records of the topic that they are."""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass

from forebay.processors.dead_letters import place_of, without_death
from forebay.queues.contract import PlacedRecord, StoredRecord
from forebay.schemas.quick_value import quick_value

from . import entries
from .orders import Order
from .state import Replaying


@dataclass(slots=True, kw_only=True)
class Replay:
    """An ordered replay: the offsets of a stream whose records are handled again, and how far it is."""

    order: int
    stream: str
    offsets: "array[int]"
    done: int = 0
    #: So many have been read.
    loaded: int = 0


@quick_value
class Restored(PlacedRecord):
    """A record with the place that it had in the topic."""

    _: KW_ONLY
    #: Where it waited: in the parked stream, or in the replay's.
    position: int
    replay: Replay | None = None
    #: Why it is given up without another try; empty when it is not.
    discarded: str = ""


def replays_of(portal: str, told: Iterable[Replaying], orders: Mapping[int, Order]) -> Iterator[Replay]:
    """The replays that the portal's state tells of, with what was ordered."""
    for one in told:
        if (order := orders.get(one.order)) is not None and order.portal == portal:
            offsets = order.offsets()
            yield Replay(order=one.order, stream=order.stream, offsets=offsets, done=one.done, loaded=one.done)


def is_ordered(record: StoredRecord) -> bool:
    """Whether an operator ordered it to be handled again."""
    return isinstance(record, Restored) and record.replay is not None


def from_parked(record: StoredRecord, offset: int, topic: str, discarded: str) -> Restored:
    """A spilled record, which stood at that offset of the topic."""
    timestamp_ms, headers = entries.original(record)
    return Restored(
        key=record.key,
        value=record.value,
        timestamp_ms=timestamp_ms,
        headers=tuple(headers),
        stream=topic,
        partition=record.partition,
        offset=offset,
        position=record.offset,
        discarded=discarded,
    )


def from_replay(record: StoredRecord, replay: Replay, discarded: str) -> Restored:
    """A record of the topic, or a dead letter, which is again what it was."""
    stream, partition, offset = place_of(record)
    return Restored(
        key=record.key,
        value=record.value,
        timestamp_ms=record.timestamp_ms,
        headers=without_death(record.headers),
        stream=stream,
        partition=partition,
        offset=offset,
        position=record.offset,
        replay=replay,
        discarded=discarded,
    )
