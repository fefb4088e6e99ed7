"""Operators' orders as they stand in the audit stream, read by commands."""

from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from forebay.processors.parking import orders
from forebay.processors.parking.orders import Order, Span, What
from forebay.queues.contract import Inspector, StoredRecord
from forebay.schemas import names

from .moving.marker import Marker, read_marker
from .reading import between, partitions_of
from .times import from_ms, iso, to_ms

#: After one of these, a letter that it names is dealt with.
_DEALS = (What.REPLAY, What.DISCARD)


async def orders_between(
    inspector: Inspector, topic: str, partition: int, start: int, end: int
) -> AsyncIterator[Order]:
    """The orders that stand in the partition of the audit stream between the offsets; what is none is passed over."""
    async for record in between(inspector, names.audit(topic), partition, start, end):
        if (order := orders.read(record)) is not None:
            yield order


def is_for_workers(order: Order, topic: str) -> bool:
    """Whether workers have to do something for it; what else stands there only says what was done."""
    is_about_parking = order.stream == names.parked(topic)
    return bool(order.spans) and not is_about_parking if order.what is What.REPLAY else is_about_parking


def count_of(order: Order) -> int:
    """How many records it names."""
    return sum(end - start for start, end in order.spans)


@dataclass(slots=True, kw_only=True)
class Marks:
    """Which records of a stream were named by orders, and the last of these orders."""

    latest: Order | None = None
    _spans: dict[int, list[Span]] = field(default_factory=dict)

    def has(self, partition: int, offset: int) -> bool:
        """Whether the record was named."""
        spans = self._spans.get(partition, ())
        at = bisect_right(spans, offset, key=lambda span: span[0])
        return at > 0 and offset < spans[at - 1][1]

    def add(self, partition: int, named: Iterable[Order]) -> None:
        """Take the orders, which stand in the partition."""
        spans = list(self._spans.get(partition, ()))
        for order in named:
            spans += order.spans
            if self.latest is None or order.at_ms >= self.latest.at_ms:
                self.latest = order
        self._spans[partition] = _merged(spans)


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


async def marks(inspector: Inspector, topic: str, partitions: Iterable[int], takes: Callable[[Order], bool]) -> Marks:
    """What the orders name that are taken."""
    found, bounds = Marks(), await inspector.bounds(names.audit(topic))
    # While the streams are made more, this one may have fewer.
    for partition in bounds.keys() & set(partitions):
        kept = bounds[partition]
        every = orders_between(inspector, topic, partition, kept.start, kept.end)
        found.add(partition, [order async for order in every if takes(order)])
    return found


async def dealt_with(inspector: Inspector, topic: str, stream: str, partitions: Iterable[int]) -> Marks:
    """The letters of the stream that were replayed or discarded."""
    return await marks(inspector, topic, partitions, lambda order: order.stream == stream and order.what in _DEALS)


async def trail(
    inspector: Inspector, topic: str, portal: str | None, since: datetime | None, until: datetime | None
) -> list[dict[str, object]]:
    """What operators did, the oldest first, as rows."""
    stream = names.audit(topic)
    bounds = await inspector.bounds(stream)
    rows: list[tuple[int, dict[str, object]]] = []
    for partition in partitions_of(portal, len(bounds)):
        start = bounds[partition].start
        if since is not None:
            start = await inspector.offset_at(stream, partition, to_ms(since))
        async for record in between(inspector, stream, partition, start, bounds[partition].end):
            is_meant = portal in (None, record.key) and (until is None or record.timestamp_ms < to_ms(until))
            row = _row_of(record) if is_meant and (since is None or record.timestamp_ms >= to_ms(since)) else None
            if row is not None:
                rows.append((record.timestamp_ms, row))
    return [row for _, row in sorted(rows, key=lambda one: one[0])]


def _row_of(record: StoredRecord) -> dict[str, object] | None:
    if (order := orders.read(record)) is not None:
        return _row(order, record.partition)
    marker = read_marker(record)
    return _row_of_move(marker, record) if marker is not None else None


def _row_of_move(marker: Marker, record: StoredRecord) -> dict[str, object]:
    return {
        "at": iso(from_ms(marker.at_ms)),
        "who": marker.who,
        "what": "move",
        "portal": None,
        "group": marker.group,
        "stream": marker.target,
        "records": None,
        "why": "done" if marker.is_done else "begun",
        "partition": record.partition,
        "offset": record.offset,
    }


def _row(order: Order, partition: int) -> dict[str, object]:
    return {
        "at": iso(from_ms(order.at_ms)),
        "who": order.who,
        "what": str(order.what),
        "portal": order.portal,
        "group": order.group or None,
        "stream": order.stream,
        "records": count_of(order) if order.spans else None,
        "why": order.why or None,
        "partition": partition,
        "offset": order.offset,
    }
