"""When a queue that says nothing is taken for hung."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, cast

import pytest

from forebay.ingest.spool.breaker import Breaker
from forebay.ingest.spool.errors import SpoolFull
from forebay.ingest.spool.passage import Passage
from forebay.ingest.spool.spool import Spool
from forebay.processors.virtual_time import VirtualLoop
from forebay.queues.contract import Record
from tests.spool.unreliable import Broker

DEADLINE_S = 0.2


class Kept:
    """A spool that keeps at once what it is given, unless it is full."""

    def __init__(self) -> None:
        self.counts = self
        self.records: list[Record] = []
        self.is_full = False

    def holds(self, key: str) -> bool:
        """No portal waits here in these tests."""
        return False

    def put(
        self, stream: str, record: Record, told: Callable[[int | SpoolFull], None], *, undecided: bool = False
    ) -> None:
        """Number it."""
        if self.is_full:
            return told(SpoolFull("full"))
        self.records.append(record)
        told(len(self.records))

    def settle(self, seq: int, *, is_gone: bool) -> None:
        """It is known what became of it."""


class Stand:
    """A passage between a queue and a spool."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.broker, self.spool = Broker(mode="hangs"), Kept()
        self.producer = self.broker.producer()
        self.breaker = Breaker(lambda: 0, DEADLINE_S, self.loop.time)
        self.passage = Passage(self.producer, cast(Spool, self.spool), self.breaker, DEADLINE_S)

    async def sent(self, acknowledged_s: float | None = None) -> float:
        """Send one event, acknowledged after so long or never; how long its call waited."""
        began = self.loop.time()
        if acknowledged_s is not None:
            self.loop.call_later(acknowledged_s, self.producer.deliver_all)
        await self.passage.send("events", Record(key="a.example", value=b"1", timestamp_ms=1))
        return self.loop.time() - began


@pytest.fixture
def run() -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    loop = VirtualLoop()
    yield loop.run_until_complete
    loop.close()


Run = Callable[[Coroutine[Any, Any, None]], None]


def test_a_record_waits_for_the_queue_until_the_deadline_and_no_longer(run: Run) -> None:
    async def story() -> None:
        stand = Stand()
        assert await stand.sent(DEADLINE_S * 0.99) == pytest.approx(DEADLINE_S * 0.99)
        assert not stand.breaker.is_open and stand.spool.records == []

        assert await stand.sent() == pytest.approx(DEADLINE_S)
        assert stand.breaker.why == "it did not acknowledge within 200 ms"
        assert len(stand.spool.records) == 1

    run(story())


def test_one_record_that_nobody_acknowledges_is_seen_while_others_are(run: Run) -> None:
    async def story() -> None:
        stand = Stand()
        stuck = asyncio.create_task(stand.sent())
        await asyncio.sleep(0)
        held = stand.producer.pending.pop()
        while not stuck.done():
            stand.loop.call_later(0.01, stand.producer.deliver_all)
            await stand.passage.send("events", Record(key="b.example", value=b"2", timestamp_ms=1))

        assert stuck.result() == pytest.approx(DEADLINE_S, abs=0.02)
        assert stand.spool.records[0] is held.record

    run(story())


def test_a_loop_that_was_held_up_hears_the_queue_before_it_judges(run: Run) -> None:
    async def story() -> None:
        stand = Stand()
        call = asyncio.create_task(stand.sent())
        await asyncio.sleep(0)
        # The loop stands still for longer than the deadline; then the timers come before what the queue has said.
        cast(VirtualLoop, stand.loop).stand_still(0.3)
        stand.loop.call_later(0.001, stand.producer.deliver_all)

        assert await call == pytest.approx(0.301)
        assert not stand.breaker.is_open
        assert stand.spool.records == []

    run(story())


def test_a_slow_queue_takes_what_a_full_spool_does_not(run: Run) -> None:
    async def story() -> None:
        stand = Stand()
        stand.breaker.open("it did not acknowledge within 200 ms")
        stand.breaker.acknowledged(stand.loop.time() - 2 * DEADLINE_S)
        stand.spool.is_full = True
        assert stand.breaker.is_open

        await stand.sent(acknowledged_s=DEADLINE_S)
        assert stand.spool.records == []

    run(story())
