"""Gaps that wait for their portals: how many, how they are told, and while a marker is on its way."""

import asyncio
from collections.abc import Callable

import pytest

from forebay.ingest.gaps.gap import Gap
from forebay.queues.contract import Delivery, Record
from forebay.queues.errors import QueueUnavailable, RecordRefused
from forebay.queues.memory import MemoryProducer, MemoryQueue
from tests.gaps.site import Site


async def test_a_portal_that_does_not_call_again_is_told_when_the_queue_is_back() -> None:
    site = await Site(None).open()
    site.queue.down = True
    site.refuse("a.ru")
    await site.sleeps.pass_()
    nothing = site.markers()
    site.queue.down = False
    waiting = site.count("ingest_gaps_waiting")

    await site.sleeps.pass_()

    assert (nothing, waiting) == ([], 1)
    assert [portal for portal, _, _ in site.markers()] == ["a.ru"]
    assert (site.count("ingest_gaps_total"), site.count("ingest_gaps_waiting")) == (1, 0)
    # There is nothing left to look at again and again.
    assert not site.sleeps.asleep.is_set()
    await site.close()


async def test_many_portals_are_told_one_after_the_other_without_a_pause() -> None:
    site = await Site(None, most=1000).open()
    for number in range(300):
        site.refuse(f"p{number}.ru")

    await site.sleeps.pass_()
    while len(site.markers()) < 300:
        assert not site.sleeps.asleep.is_set()
        await asyncio.sleep(0)

    await site.close()


class Refusing(MemoryQueue):
    """Takes nothing of some portals, and notes who asked."""

    def __init__(self, refuses: Callable[[str], bool], error: type[Exception] = QueueUnavailable) -> None:
        super().__init__()
        self.refuses, self.error, self.asked = refuses, error, list[str]()

    def producer(self) -> MemoryProducer:
        queue = self

        class Producer(MemoryProducer):
            def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
                queue.asked.append(record.key)
                if queue.refuses(record.key):
                    raise queue.error("it takes nothing of this portal")
                super().submit(stream, record, delivery)

        return Producer(self)


async def test_while_nothing_is_taken_one_portal_asks_for_all_of_them() -> None:
    queue = Refusing(lambda portal: True)
    site = await Site(None, queue).open()
    for number in range(100):
        site.refuse(f"p{number}.ru")

    for _ in range(3):
        await site.sleeps.pass_()

    assert queue.asked == ["p0.ru", "p1.ru", "p2.ru"]
    await site.close()


@pytest.mark.parametrize("error", [QueueUnavailable, TypeError], ids=["the queue's", "nobody's"])
async def test_a_portal_that_can_not_be_told_keeps_no_other_from_being_told(error: type[Exception]) -> None:
    queue = Refusing(lambda portal: portal < "p2", error)
    site = await Site(None, queue).open()
    for number in range(10):
        site.refuse(f"p{number}.ru")

    for _ in range(3):
        await site.sleeps.pass_()

    assert [portal for portal, _, _ in site.markers()] == [f"p{number}.ru" for number in range(2, 10)]
    await site.close()


async def test_portals_beyond_the_bound_are_counted_only() -> None:
    site = await Site(None, most=2).open()
    for portal in ("a.ru", "b.ru", "c.ru", "c.ru", "a.ru"):
        site.refuse(portal)

    await site.sleeps.pass_()

    assert [(portal, calls) for portal, _, calls in site.markers()] == [("a.ru", "2"), ("b.ru", "1")]
    assert site.count("ingest_gaps_unmarked_total") == 2
    await site.close()


class NeverProducer(MemoryProducer):
    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        raise RecordRefused("not allowed")


class NeverQueue(MemoryQueue):
    def producer(self) -> MemoryProducer:
        return NeverProducer(self)


async def test_a_marker_that_the_queue_never_takes_is_given_up_and_counted() -> None:
    site = await Site(None, NeverQueue()).open()
    site.refuse("a.ru")

    await site.sleeps.pass_()

    assert (len(site.gaps), site.count("ingest_gaps_unmarked_total")) == (0, 1)
    await site.close()


class LateProducer(MemoryProducer):
    """Takes the first record when the test says so."""

    def __init__(self, queue: "LateQueue") -> None:
        super().__init__(queue)
        self._late = queue

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        self._late.waiting.append(lambda: super(LateProducer, self).submit(stream, record, delivery))


class LateQueue(MemoryQueue):
    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], None]] = []

    def producer(self) -> MemoryProducer:
        return LateProducer(self)


@pytest.mark.parametrize(
    ("at_ms", "told_from"),
    [(3_000, "02"), (1_500, "01"), (500, "00")],
    ids=["later", "by a clock that was set back", "by one that was set back further"],
)
async def test_calls_that_are_refused_while_a_marker_is_on_its_way_are_told_by_another(
    at_ms: int, told_from: str
) -> None:
    queue = LateQueue()
    site = await Site(None, queue).open()
    site.refuse("a.ru", 1_000)
    site.refuse("a.ru", 2_000)
    await site.sleeps.pass_()
    site.refuse("a.ru", at_ms)

    queue.waiting.pop()()
    await asyncio.sleep(0)
    while not queue.waiting:
        await asyncio.sleep(0)
    queue.waiting.pop()()
    while len(site.gaps):
        await asyncio.sleep(0)

    # The second one begins where the first one ended, and never behind the call that it tells of.
    told = {calls: since for _, since, calls in site.markers()}
    assert told["2"] == "1970-01-01T00:00:01.000+00:00"
    assert told["1"].startswith(f"1970-01-01T00:00:{told_from}")
    await site.close()


def test_what_is_left_of_a_gap_begins_with_its_first_call_also_where_the_clock_was_set_back_and_on_again() -> None:
    def gap(from_ms: int, to_ms: int, calls: int) -> Gap:
        return Gap(
            portal="a.ru", member_id=None, endpoint="/e", verified=True, from_ms=from_ms, to_ms=to_ms, calls=calls
        )

    told = gap(1_000, 2_000, 2)

    left = told.with_others(gap(500, 500, 1)).with_others(gap(3_000, 3_000, 1)).without(told)

    assert left == gap(500, 3_000, 2)


async def test_calls_that_come_while_a_marker_is_on_its_way_wait_for_it_and_send_no_other() -> None:
    queue = LateQueue()
    site = await Site(None, queue).open()
    site.refuse("a.ru")

    calls = [asyncio.create_task(site.gaps.mark("a.ru")) for _ in range(3)]
    while not queue.waiting:
        await asyncio.sleep(0)
    waits = not any(call.done() for call in calls)
    queue.waiting.pop()()

    assert waits
    assert [await call for call in calls] == [True, True, True]
    assert (len(site.markers()), queue.waiting) == (1, [])
    await site.close()
