"""Orders are written, a portal after the other: at a pace, and with an end between two portals."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

from forebay.processors.parking import orders
from forebay.processors.parking.orders import Order, What
from forebay.queues.contract import Inspector, Producer
from forebay.queues.errors import QueueError
from forebay.schemas import names

from .orders import Marks, orders_between
from .planning import Plan, Planned, count_in
from .times import to_ms, utc_now

#: Where no rate holds them back: enough for a group commit of the queue.
_PORTALS_AT_ONCE = 100

#: What another operator orders is seen within this time.
_LOOK_AGAIN_S = 1.0


class Stop:
    """That a person wants it to end: Ctrl-C."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    @property
    def is_asked(self) -> bool:
        """Whether it was said."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Say it."""
        self._asked.set()

    async def within(self, seconds: float) -> bool:
        """Wait so long, or until it is said. Whether it was."""
        try:
            async with asyncio.timeout(seconds):
                await self._asked.wait()
        except TimeoutError:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Orderer:
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
    clock: Callable[[], float] = monotonic
    _marks: Marks = field(default_factory=Marks, init=False)
    _looked_at: float | None = field(default=None, init=False)

    async def left(self, plan: Plan) -> list[Planned]:
        """What of the plan, which is of one stream, is still to be ordered; the portals stay as many."""
        if self._looked_at is None or self.clock() - self._looked_at >= _LOOK_AGAIN_S:
            await self._look(plan[0].stream, {planned.group for planned in plan})
            self._looked_at = self.clock()
        return [planned.without(self._marks) for planned in plan]

    async def _look(self, stream: str, groups: set[str]) -> None:
        for partition, kept in (await self.inspector.bounds(names.audit(self.topic))).items():
            start = max(kept.start, self.since.get(partition, 0))
            found = orders_between(self.inspector, self.topic, partition, start, kept.end)
            self._marks.add(partition, [one async for one in found if one.stream == stream and _names(one, groups)])
            self.since[partition] = max(start, kept.end)


def _names(order: Order, groups: set[str]) -> bool:
    """Whether the order is about the records that it names, and for one of the groups."""
    return order.what in (What.REPLAY, What.DISCARD) and order.group in groups


async def order_all(
    plan: Plan,
    what: What,
    orderer: Orderer,
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
        results = await asyncio.gather(*(orderer.put_all(one, what) for one in left), return_exceptions=True)
        for planned, result in zip(left, results, strict=True):
            if isinstance(result, BaseException):
                raise result
            ordered(planned, result)
