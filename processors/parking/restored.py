"""Records that waited somewhere else, as the records of the topic that they are."""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass

from forebay.processors.dead_letters import place_of, without_death
from forebay.queues.contract import PlacedRecord, StoredRecord
from forebay.schemas import names
from forebay.schemas.logger import get_logger
from forebay.schemas.quick_value import quick_value

from . import entries
from .orders import Order
from .state import Mark, Replaying

_log = get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Replay:
    """An ordered replay: the offsets of a stream whose records are handled again, and how far it is."""

    order: int
    at_ms: int
    stream: str
    offsets: "array[int]"
    done: int = 0
    #: So many have been read.
    loaded: int = 0


@quick_value
class Restored(PlacedRecord):
    """A record with the place that it had in the topic."""

    _: KW_ONLY
    #: Where it waited: in the parked stream, with its lap, or in the replay's.
    position: int
    lap: int = 0
    replay: Replay | None = None
    #: Why it is given up without another try; empty when it is not.
    discarded: str = ""


def replays_of(portal: str, told: Iterable[Replaying], orders: Mapping[int, Order], topic: str) -> Iterator[Replay]:
    """The replays that the portal's state tells of, with what was ordered.

    Where the topic is a copy, as a cluster has it that stands in for another, there may be none: an order stands
    elsewhere there, or names what is not in the topic's streams.
    """
    for one in told:
        order = orders.get(one.order)
        is_it = order is not None and order.portal == portal and one.at_ms in (0, order.at_ms)
        if order is None or not is_it or order.stream not in names.streams(topic):
            _log.error(
                "a replay that was under way is not gone on with: it names records of another topic; order it again",
                portal=portal,
                ordered_at_ms=one.at_ms,
                done=one.done,
                stream=order.stream if order is not None and is_it else None,
            )
            continue
        yield replay_of(order, one.done)


def replay_of(order: Order, done: int = 0) -> Replay:
    """What was ordered, of which so many are done."""
    return Replay(
        order=order.offset, at_ms=order.at_ms, stream=order.stream, offsets=order.offsets(), done=done, loaded=done
    )


def is_ordered(record: StoredRecord) -> bool:
    """Whether an operator ordered it to be handled again."""
    return isinstance(record, Restored) and record.replay is not None


def from_parked(record: StoredRecord, mark: Mark, topic: str, discarded: str) -> Restored:
    """A spilled record, which has that mark."""
    timestamp_ms, headers = entries.original(record)
    lap, offset = mark
    return Restored(
        key=record.key,
        value=record.value,
        timestamp_ms=timestamp_ms,
        headers=tuple(headers),
        stream=topic,
        partition=record.partition,
        offset=offset,
        position=record.offset,
        lap=lap,
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
