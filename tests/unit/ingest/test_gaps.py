"""What a portal is told when calls of it were kept nowhere."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forebay import Handlers, PortalEvent
from forebay.ingest.address import Address
from forebay.ingest.authenticate import Sender
from forebay.ingest.gaps.book import Book, left_books, own_book
from forebay.ingest.gaps.gap import Gap
from forebay.ingest.gaps.gaps import Gaps
from forebay.ingest.metrics import IngestMetrics
from forebay.ingest.outlet import Outlet
from forebay.ingest.record import Receipt
from forebay.ingest.spool.locks import FileLock
from forebay.processors.outcome import Done
from forebay.processors.testing import run
from forebay.queues.contract import Delivery, Record
from forebay.queues.errors import RecordRefused
from forebay.queues.memory import MemoryProducer, MemoryQueue
from forebay.schemas.codec import codec
from forebay.schemas.names import GAP

from .conftest import EVENT, Running, running

SMALL = 1000


def event_of(portal: str, number: int = 1) -> str:
    return EVENT.replace("A.Bitrix24.ru", portal).replace("[ID]=9", f"[ID]={number}")


def told(ingest: Running) -> list[tuple[str, str, Any]]:
    """Portal, name, and of a marker how many calls it tells of, of other events the id; in the queue's order."""
    events = [codec().decode(record.value) for record in ingest.records()]
    return [(one.portal, one.name, one.fields.get("data[COUNT]", one.fields.get("data[FIELDS][ID]"))) for one in events]


async def test_a_portal_is_told_of_its_gap_before_its_next_event() -> None:
    async with running() as ingest:
        await ingest.post(event_of("a.ru", 1))
        ingest.queue.down = True
        refused = [(await ingest.post(event_of("a.ru", number))).status_code for number in (2, 3)]
        ingest.queue.down = False

        kept = await ingest.post(event_of("a.ru", 4))
        await ingest.post(event_of("a.ru", 5))

        assert (refused, kept.status_code) == ([503, 503], 200)
        assert told(ingest) == [
            ("a.ru", "ONCRMDEALADD", "1"),
            ("a.ru", GAP, "2"),
            ("a.ru", "ONCRMDEALADD", "4"),
            ("a.ru", "ONCRMDEALADD", "5"),
        ]


async def test_a_marker_is_an_event_that_says_from_when_to_when_and_why() -> None:
    async with running(auth="none", tokens={}) as ingest:
        ingest.queue.down = True
        await ingest.post()
        await ingest.post()
        ingest.queue.down = False
        await ingest.post()

        marker = codec().decode(ingest.records()[0].value)
        assert isinstance(marker.data, dict)
        since, until = marker.data["FROM"], marker.data["TO"]
        assert isinstance(since, str) and isinstance(until, str) and since <= until
        assert (marker.data["REASON"], marker.data["COUNT"]) == ("not_kept", "2")
        assert (marker.kind, marker.name, marker.source) == ("event", GAP, "forebay")
        assert (marker.portal, marker.member_id) == ("a.bitrix24.ru", "m1")
        assert marker.auth == {"domain": "a.bitrix24.ru", "member_id": "m1"}
        assert (marker.subscription.endpoint, marker.subscription.verified) == ("/bitrix24", False)
        assert dict(ingest.records()[0].headers)["ce_type"] == b"com.bitrix24.event.ONFOREBAYGAP"


async def test_a_handler_takes_markers_by_their_name() -> None:
    handlers, seen = Handlers(), []

    @handlers.on("ONFOREBAYGAP")
    async def reconcile(event: PortalEvent) -> None:
        seen.append(event.data)

    async with running() as ingest:
        ingest.queue.down = True
        await ingest.post()
        ingest.queue.down = False
        await ingest.post()
        outcome = await run(handlers, codec().decode(ingest.records()[0].value))

    assert isinstance(outcome, Done)
    assert len(seen) == 1


async def test_each_portal_has_a_marker_of_its_own_and_others_have_none() -> None:
    async with running() as ingest:
        ingest.queue.down = True
        for portal in ("a.ru", "b.ru", "a.ru"):
            await ingest.post(event_of(portal))
        ingest.queue.down = False

        for portal in ("a.ru", "b.ru", "c.ru"):
            await ingest.post(event_of(portal))

        markers = sorted((portal, count) for portal, name, count in told(ingest) if name == GAP)
        assert markers == [("a.ru", "2"), ("b.ru", "1")]


async def test_what_is_refused_after_a_marker_is_a_gap_of_its_own() -> None:
    async with running() as ingest:
        for number in (1, 2):
            ingest.queue.down = True
            await ingest.post(event_of("a.ru", number))
            ingest.queue.down = False
            await ingest.post(event_of("a.ru", number))

        assert [(name, count) for _, name, count in told(ingest)] == [
            (GAP, "1"),
            ("ONCRMDEALADD", "1"),
            (GAP, "1"),
            ("ONCRMDEALADD", "2"),
        ]


async def test_what_is_no_portals_call_leaves_no_gap() -> None:
    async with running() as ingest:
        ingest.queue.down = True
        stranger = await ingest.post(EVENT.replace("auth[application_token]=", "auth[application_token]=x"))
        nameless = await ingest.post(EVENT.replace("A.Bitrix24.ru", "-").replace("=m1", "=%20"))
        ingest.queue.down = False
        await ingest.post()

        assert (stranger.status_code, nameless.status_code) == (403, 503)
        assert [name for _, name, _ in told(ingest)] == ["ONCRMDEALADD"]


async def test_a_call_that_went_to_quarantine_leaves_no_gap() -> None:
    async with running(max_depth=4) as ingest:
        await ingest.post(EVENT + "&data[a][b][c][d][e][f]=1")
        await ingest.post()

        assert len(ingest.records(".quarantine")) == 1
        assert [name for _, name, _ in told(ingest)] == ["ONCRMDEALADD"]


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
    assert [gap.portal for gap in opened(tmp_path / "early").gaps] == ["a.ru"]
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


def gap(portal: str, calls: int = 1) -> Gap:
    return Gap(portal=portal, member_id=None, endpoint="/bitrix24", verified=True, from_ms=1, to_ms=calls, calls=calls)


def opened(folder: Path, size: int = SMALL) -> Book:
    folder.mkdir(exist_ok=True)
    (lock := FileLock(folder / "gaps-0.lock")).take()
    return Book(lock, folder / "gaps-0", size)


def test_a_book_gives_back_what_was_written_last(tmp_path: Path) -> None:
    book = opened(tmp_path)
    for one in (gap("a.ru"), gap("b.ru"), gap("a.ru", 7), gap("c.ru"), gap("b.ru", 0)):
        book.write(one)
    book.close()

    assert opened(tmp_path).gaps == [gap("a.ru", 7), gap("c.ru")]


def test_a_book_begins_anew_when_nothing_that_stands_there_is_needed(tmp_path: Path) -> None:
    book = opened(tmp_path)
    for number in range(100):
        book.write(gap(f"p{number}.ru"))
        book.write(gap(f"p{number}.ru", 0))
    book.write(gap("last.ru"))
    book.close()

    assert opened(tmp_path).gaps == [gap("last.ru")]


def test_a_book_that_is_full_keeps_what_it_has(tmp_path: Path) -> None:
    book = opened(tmp_path)
    for number in range(100):
        book.write(gap(f"p{number:02}.ru"))
    book.write(gap("p00.ru", 5))
    book.close()

    found = opened(tmp_path).gaps
    assert found[0] == gap("p00.ru", 5)
    assert 5 < len(found) < SMALL / 40
    assert (tmp_path / "gaps-0").stat().st_size == SMALL


@pytest.mark.parametrize("at", [0, 20, 50, 80])
def test_what_a_power_cut_has_torn_ends_the_book_and_costs_nothing_before_it(tmp_path: Path, at: int) -> None:
    book = opened(tmp_path)
    book.write(gap("a.ru"))
    book.write(gap("b.ru"))
    book.close()
    content = bytearray((tmp_path / "gaps-0").read_bytes())
    content[at] ^= 0xFF
    (tmp_path / "gaps-0").write_bytes(content)

    found = opened(tmp_path).gaps

    assert found == ([gap("a.ru")] if at >= 47 else [])


def test_a_book_that_was_not_closed_is_somebodys_as_long_as_its_process_lives(tmp_path: Path) -> None:
    first = own_book(tmp_path)
    second = own_book(tmp_path)

    left = list(left_books(tmp_path))

    assert first and second and first.path != second.path
    assert left == []
    first.close()
    second.close()


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    for name in ("gaps-x", "gaps-1.old", "notes"):
        (tmp_path / name).write_text("mine")

    assert list(left_books(tmp_path)) == []


def test_without_a_folder_that_can_be_made_there_is_no_book(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert own_book(tmp_path / "file" / "gaps") is None
