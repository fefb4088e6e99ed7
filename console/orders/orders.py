"""Operators' orders as they stand in the audit stream, and what they name."""

from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

from forebay.processors.parking import orders
from forebay.processors.parking.orders import Order, Span, What
from forebay.queues.contract import Inspector
from forebay.queues.reading import between
from forebay.schemas import names

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
    if order.what is What.REPLAY:
        # Quarantined calls are read again and sent by the command itself.
        return bool(order.spans) and order.stream not in (names.parked(topic), names.quarantine(topic))
    return order.stream == names.parked(topic)


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
