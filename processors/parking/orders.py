"""What operators order, as it stands in the audit stream: who, what, when and why. Owners of partitions follow it."""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Any

import orjson

from forebay.queues.contract import Record, StoredRecord

#: Offsets from the first on, up to and without the second.
Span = tuple[int, int]

#: With more spans an order could be too large for a queue; the rest is another order.
MAX_SPANS = 20_000


class What(StrEnum):
    """What is ordered."""

    HOLD = "hold"
    RESUME = "resume"
    DISCARD = "discard"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to become of a portal, or of those of its records that stand in the spans of a stream.

    The spans are of the partition of the portal's key, which every stream of the topic has in common.
    """

    portal: str
    what: What
    stream: str
    group: str
    who: str
    why: str
    at_ms: int
    spans: tuple[Span, ...] = ()
    #: Where it stands in the audit stream; below 0 as long as it doesn't.
    offset: int = -1

    def offsets(self) -> "array[int]":
        """The spans' offsets, one by one."""
        return array("q", chain.from_iterable(range(*span) for span in self.spans))


def spans_of(offsets: Iterable[int]) -> Iterator[Span]:
    """Growing offsets as spans."""
    start = end = None
    for offset in offsets:
        if offset == end and start is not None:
            end = offset + 1
            continue
        if start is not None and end is not None:
            yield start, end
        start, end = offset, offset + 1
    if start is not None and end is not None:
        yield start, end


def written(order: Order) -> Record:
    """The order as a record, which a person can read too."""
    told: dict[str, object] = {
        "what": order.what,
        "portal": order.portal,
        "stream": order.stream,
        "group": order.group,
        "who": order.who,
        "why": order.why,
        "count": sum(end - start for start, end in order.spans),
        "spans": order.spans,
    }
    return Record(key=order.portal, value=orjson.dumps(told), timestamp_ms=order.at_ms)


def read(record: StoredRecord) -> Order | None:
    """The order that the record is, or None when it is none that we know."""
    try:
        told: dict[str, Any] = orjson.loads(record.value)
        return Order(
            portal=record.key,
            what=What(told["what"]),
            stream=str(told["stream"]),
            group=str(told["group"]),
            who=str(told["who"]),
            why=str(told["why"]),
            at_ms=record.timestamp_ms,
            spans=tuple((int(start), int(end)) for start, end in told["spans"]),
            offset=record.offset,
        )
    except (KeyError, TypeError, ValueError):
        return None
