"""Gaps that wait for their portals: how many, over restarts, on a full disk, and while a marker is on its way."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from forebay.ingest.address import Address
from forebay.ingest.authenticate import Sender
from forebay.ingest.gaps.book import own_book
from forebay.ingest.gaps.gaps import Gaps
from forebay.ingest.metrics import IngestMetrics
from forebay.ingest.outlet import Outlet
from forebay.ingest.record import Receipt
from forebay.queues.contract import Delivery, Record
from forebay.queues.errors import QueueUnavailable, RecordRefused
from forebay.queues.memory import MemoryProducer, MemoryQueue
from forebay.schemas.codec import codec


class Sleeps:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self._wake = asyncio.Event()
        self.asleep = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asleep.set()
        await self._wake.wait()
        self._wake.clear()

    async def pass_(self) -> None:
        """Let what sleeps go on, until it sleeps or waits again."""
        await self.asleep.wait()
        self.asleep.clear()
        self._wake.set()
        for _ in range(20):
            await asyncio.sleep(0)


class Site:
    """Gaps in front of a queue, without HTTP."""

    def __init__(self, folder: Path | None, queue: MemoryQueue | None = None, most: int = 100) -> None:
        self.queue = queue or MemoryQueue()
        self.outlet = Outlet(self.queue, topic="events", partitions=1)
        self.metrics, self.sleeps = IngestMetrics(), Sleeps()
        self.gaps = Gaps(folder, self.outlet, codec(), self.metrics, most=most, sleep=self.sleeps)

    async def open(self) -> "Site":
        await self.outlet.open()
        for _ in range(5):
            await asyncio.sleep(0)
        self.gaps.open()
        return self

    def refuse(self, portal: str, at_ms: int = 1_000) -> None:
        sender = Sender(portal=portal, member_id="m", verified=True, address=Address(path="", query=""))
        self.gaps.note(sender, Receipt(id="i", at_ns=at_ms * 1_000_000, endpoint="/bitrix24", traceparent=None))

    def markers(self) -> list[tuple[str, str, str]]:
        events = [codec().decode(record.value) for log in self.queue.logs["events"] for record in log]
        return sorted((one.portal, one.fields["data[FROM]"], one.fields["data[COUNT]"]) for one in events)

    async def close(self) -> None:
        self.gaps.close()
        await self.outlet.close()

    def count(self, name: str) -> float:
        (line,) = [
            line for line in self.metrics.exposition().decode().splitlines() if line.startswith(f"forebay_{name} ")
        ]
        return float(line.split()[-1])


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


async def test_gaps_outlive_the_process(tmp_path: Path) -> None:
    before = await Site(tmp_path).open()
    before.queue.down = True
    before.refuse("a.ru", 1_000)
    before.refuse("a.ru", 5_000)
    before.refuse("b.ru", 2_000)
    await before.close()

    after = await Site(tmp_path).open()
    after.refuse("a.ru", 9_000)
    await after.sleeps.pass_()

    assert after.markers() == [
        ("a.ru", "1970-01-01T00:00:01.000+00:00", "3"),
        ("b.ru", "1970-01-01T00:00:02.000+00:00", "1"),
    ]
    await after.close()
    assert [path.name for path in tmp_path.iterdir()] == ["gaps-0.lock"]


async def test_what_a_portal_was_told_is_not_told_again_after_a_restart(tmp_path: Path) -> None:
    before = await Site(tmp_path).open()
    before.refuse("a.ru")
    await before.sleeps.pass_()
    before.queue.down = True
    before.refuse("b.ru")
    await before.close()

    after = await Site(tmp_path).open()
    await after.sleeps.pass_()

    assert [portal for portal, _, _ in after.markers()] == ["b.ru"]
    await after.close()


async def test_one_process_takes_over_the_gaps_of_several_that_are_gone(tmp_path: Path) -> None:
    gone = [await Site(tmp_path).open() for _ in range(3)]
    for number, site in enumerate(gone):
        site.queue.down = True
        site.refuse("a.ru", number)
    for site in gone:
        await site.close()

    after = await Site(tmp_path).open()
    await after.sleeps.pass_()

    assert [(portal, calls) for portal, _, calls in after.markers()] == [("a.ru", "3")]
    assert sorted(path.name for path in tmp_path.glob("gaps-?")) == ["gaps-0"]
    await after.close()


async def test_gaps_of_a_process_that_lives_are_its_own(tmp_path: Path) -> None:
    living = await Site(tmp_path).open()
    living.queue.down = True
    living.refuse("a.ru")

    other = await Site(tmp_path).open()

    assert len(other.gaps) == 0
    await other.close()
    await living.close()


async def test_on_a_full_disk_what_has_its_space_already_is_noted_and_the_rest_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    early = await Site(tmp_path / "early").open()
    monkeypatch.setattr(os, "posix_fallocate", full)
    late = await Site(tmp_path / "late").open()
    for site in (early, late):
        site.refuse("a.ru")

    await late.sleeps.pass_()
    await early.close()

    monkeypatch.undo()
    assert [portal for portal, _, _ in late.markers()] == ["a.ru"]
    again = own_book(tmp_path / "early")
    assert again and [gap.portal for gap in again.gaps] == ["a.ru"]
    again.close()
    await late.close()


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


async def test_calls_that_are_refused_while_a_marker_is_on_its_way_are_told_by_another() -> None:
    queue = LateQueue()
    site = await Site(None, queue).open()
    site.refuse("a.ru", 1_000)
    site.refuse("a.ru", 2_000)
    await site.sleeps.pass_()
    site.refuse("a.ru", 3_000)

    queue.waiting.pop()()
    await asyncio.sleep(0)
    while not queue.waiting:
        await asyncio.sleep(0)
    queue.waiting.pop()()
    while len(site.gaps):
        await asyncio.sleep(0)

    assert site.markers() == [
        ("a.ru", "1970-01-01T00:00:01.000+00:00", "2"),
        ("a.ru", "1970-01-01T00:00:02.000+00:00", "1"),
    ]
    await site.close()


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
