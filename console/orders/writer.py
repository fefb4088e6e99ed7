"""Orders are written, a portal after the other: at a pace, and with an end between two portals."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from time import monotonic

from forebay.console.planning import Plan, Planned, count_in
from forebay.console.reading import producing
from forebay.console.stopping import Stop
from forebay.console.times import to_ms, utc_now
from forebay.processors.parking import orders
from forebay.processors.parking.attendant import can_park
from forebay.processors.parking.orders import Order, What
from forebay.queues.contract import Inspector, Producer, Queue
from forebay.queues.errors import QueueError
from forebay.schemas import names
from forebay.schemas.errors import ForebayError

from .operators import who
from .orders import Marks, orders_between

#: Where no rate holds them back: enough for a group commit of the queue.
_PORTALS_AT_ONCE = 100


class Overtaken(ForebayError):
    """Another operator orders the same at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderWriter:
    """Writes orders of one operator."""

    producer: Producer
    topic: str
    who: str
    why: str
    now_ms: Callable[[], int] = lambda: to_ms(utc_now())

    async def put(self, portal: str, what: What, group: str, partition: int) -> Order:
        """Order something about a portal that is parked, or shall be."""
        order = Order(
            portal=portal,
            what=what,
            stream=names.parked(self.topic),
            group=group,
            who=self.who,
            why=self.why,
            at_ms=self.now_ms(),
        )
        (written,) = await self._write([order], partition)
        return written

    async def put_all(self, planned: Planned, what: What) -> list[Order]:
        """Order it for all that is planned of a portal."""
        return await self._write(list(planned.orders(what, self.who, self.why, self.now_ms())), planned.partition)

    async def _write(self, given: Sequence[Order], partition: int) -> list[Order]:
        stream = names.audit(self.topic)
        # At once, so that a worker finds all of a portal's; tasks made in order keep it.
        sent = [asyncio.create_task(self.producer.send(stream, orders.written(order))) for order in given]
        places = await asyncio.gather(*sent)
        for order, place in zip(given, places, strict=True):
            if place.partition != partition:
                raise QueueError(
                    f"the order for {order.portal} went to partition {place.partition}, its records stand in "
                    f"{partition}: was {stream} made with another number of partitions?"
                )
        return [replace(order, offset=place.offset) for order, place in zip(given, places, strict=True)]


def check_can_obey(queue: Queue) -> None:
    """Raise `QueueError` where no worker looks for orders: letters that are to be replayed would be gone."""
    if not can_park(queue):
        raise QueueError(
            "workers obey no orders on this queue, from which nothing can be read a second time: no portal is parked "
            "or held there, and nothing handled again"
        )


@asynccontextmanager
async def order_writer(queue: Queue, topic: str, why: str) -> AsyncIterator[OrderWriter]:
    """The writer of orders in the name of whoever runs this."""
    async with producing(queue, topic) as producer:
        yield OrderWriter(producer=producer, topic=topic, who=who(), why=why)


@dataclass(slots=True, kw_only=True)
class Pace:
    """Lets a portal be ordered when those before it had their time, by so many records a second; None: at once."""

    rate: float | None
    stop: Stop
    clock: Callable[[], float] = monotonic
    _due: float | None = field(default=None, init=False)

    async def next(self, records: int) -> bool:
        """Return when so many may be ordered. False when it is to end."""
        if self.rate is not None:
            due = self._due if self._due is not None else self.clock()
            self._due = due + records / self.rate
            if due > self.clock():
                await self.stop.within(due - self.clock())
        return not self.stop.is_asked


@dataclass(slots=True, kw_only=True)
class Meanwhile:
    """What is ordered by others since a plan was made: nothing of it is ordered a second time."""

    inspector: Inspector
    topic: str
    #: Partition → where in the audit stream to begin; from its first record on where it isn't said.
    since: dict[int, int]
    #: By group: an order for one deals with nothing of another's.
    _marks: dict[str, Marks] = field(default_factory=lambda: defaultdict(Marks), init=False)

    async def left(self, plan: Plan) -> list[Planned]:
        """What of the plan, which is of one stream, is still to be ordered; the portals stay as many.

        Ask right before it is ordered. What was ordered meanwhile by one who runs the same would be done twice.
        """
        await self._look(plan[0].stream)
        return [planned.without(self._marks[planned.group]) for planned in plan]

    async def _look(self, stream: str) -> None:
        for partition, kept in (await self.inspector.bounds(names.audit(self.topic))).items():
            start = max(kept.start, self.since.get(partition, 0))
            found: dict[str, list[Order]] = defaultdict(list)
            async for order in orders_between(self.inspector, self.topic, partition, start, kept.end):
                if _deals_with(order, stream):
                    found[order.group].append(order)
            for group, named in found.items():
                self._marks[group].add(partition, named)
            self.since[partition] = max(start, kept.end)

    async def check(self, plan: Plan, written: Sequence[Sequence[Order]]) -> None:
        """Raise `Overtaken` when another ordered some of the plan after our last look at it, and before us.

        Two who do the same would go on so, side by side, and all would be done twice.
        """
        ours = {(one.portal, one.group): (one, orders[0]) for one, orders in zip(plan, written, strict=True) if orders}
        ends: dict[int, int] = {}
        for one, order in ours.values():
            ends[one.partition] = max(order.offset, ends.get(one.partition, 0))
        for partition, end in ends.items():
            start = self.since.get(partition, 0)
            async for order in orders_between(self.inspector, self.topic, partition, start, end):
                mine = ours.get((order.portal, order.group))
                if mine is not None and _came_first(order, *mine):
                    raise Overtaken(
                        f"{order.who} does the same just now, and was first: {order.portal}, and perhaps what was "
                        "under way beside it, is done twice; forebay audit shows both. Run it again for what is left"
                    )


def _deals_with(order: Order, stream: str) -> bool:
    """Whether the records of the stream that it names are dealt with. Other orders say nothing of those."""
    return order.stream == stream and order.what in (What.REPLAY, What.DISCARD)


def _came_first(order: Order, planned: Planned, ours: Order) -> bool:
    if order.offset >= ours.offset or not _deals_with(order, planned.stream):
        return False
    named = Marks()
    named.add(planned.partition, [order])
    return any(named.has(planned.partition, offset) for offset in planned.offsets)


async def order_all(
    plan: Plan,
    what: What,
    writer: OrderWriter,
    pace: Pace,
    meanwhile: Meanwhile,
    ordered: Callable[[Planned, list[Order]], None],
) -> None:
    """Order what is planned, and tell of each portal when it is done; end between two of them when it is to end."""
    size = _PORTALS_AT_ONCE if pace.rate is None else 1
    for start in range(0, len(plan), size):
        some = plan[start : start + size]
        if not await pace.next(count_in(some)):
            return
        left = await meanwhile.left(some)
        results = await asyncio.gather(*(writer.put_all(one, what) for one in left), return_exceptions=True)
        written = []
        for planned, result in zip(left, results, strict=True):
            if isinstance(result, BaseException):
                raise result
            ordered(planned, result)
            written.append(result)
        await meanwhile.check(left, written)
