"""Orders are written, a portal after the other: at a pace, and with an end between two portals."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

from forebay.processors.parking import orders
from forebay.processors.parking.orders import Order, What
from forebay.queues.contract import Producer
from forebay.queues.errors import QueueError
from forebay.schemas import names

from .planning import Plan, Planned
from .times import to_ms, utc_now


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


async def order_all(
    plan: Plan, what: What, orderer: Orderer, pace: Pace, ordered: Callable[[Planned, list[Order]], None]
) -> None:
    """Order what is planned, and tell of each portal when it is done; end between two of them when it is to end."""
    for planned in plan:
        if not await pace.next(len(planned.offsets)):
            return
        ordered(planned, await orderer.put_all(planned, what))
