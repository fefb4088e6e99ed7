"""Gaps that outlive their process: over restarts, of several processes, and on a full disk."""

import asyncio
import errno
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from forebay.ingest.gaps.book import FOLDER, own_book
from forebay.ingest.locks import is_free
from forebay.queues.contract import Delivery, Position, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryProducer, MemoryQueue
from forebay.queues.telling import settle
from tests.gaps.site import Site

from .conftest import running


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


async def left_by_two(folder: Path) -> None:
    """The gaps of two portals in one book, and of one in the next."""
    gone = [await Site(folder).open() for _ in range(2)]
    for site, portals in zip(gone, (("a.ru", "b.ru"), ("c.ru",)), strict=True):
        site.queue.down = True
        for portal in portals:
            site.refuse(portal)
    for site in gone:
        await site.close()


async def test_what_stands_where_nobody_can_write_any_more_is_told_whole_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await Site(tmp_path, looks_every_s=0.01).open()
    await left_by_two(tmp_path)
    write, failing = os.pwrite, {path.stat().st_ino for path in tmp_path.glob("gaps-[12]")}

    def fails(file: int, data: bytes, offset: int) -> int:
        if os.fstat(file).st_ino in failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return write(file, data, offset)

    monkeypatch.setattr(os, "pwrite", fails)
    async with asyncio.timeout(60):
        while len(first.markers()) < 3:
            await first.sleeps.pass_()
    for _ in range(3):
        await first.sleeps.pass_()

    assert [(portal, calls) for portal, _, calls in first.markers()] == [("a.ru", "1"), ("b.ru", "1"), ("c.ru", "1")]
    assert [path.name for path in tmp_path.glob("gaps-?")] == ["gaps-0"]
    assert all(is_free(tmp_path / f"gaps-{number}.lock") for number in (1, 2))
    await first.close()


async def test_who_can_have_no_book_tells_what_others_have_left_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await left_by_two(tmp_path)
    monkeypatch.setattr("forebay.ingest.gaps.gaps.own_book", lambda folder: None)
    site = await Site(tmp_path, looks_every_s=0.01).open()

    for number in range(3):
        await site.sleeps.pass_()
        site.refuse(f"another-{number}.ru")
    await site.sleeps.pass_()

    told = [(portal, calls) for portal, _, calls in site.markers() if not portal.startswith("another")]
    assert told == [("a.ru", "1"), ("b.ru", "1"), ("c.ru", "1")]
    await site.close()


@pytest.mark.parametrize(("name", "is_told"), [("gaps-0", True), ("gaps-0.lock", False)])
async def test_where_the_first_book_can_not_be_read_gaps_outlive_the_process_in_another(
    tmp_path: Path, name: str, *, is_told: bool
) -> None:
    (tmp_path / name).mkdir()
    before = await Site(tmp_path).open()
    before.queue.down = True
    before.refuse("a.ru")
    await before.close()

    with capture_logs() as logs:
        after = await Site(tmp_path).open()
    await after.sleeps.pass_()

    assert [portal for portal, _, _ in after.markers()] == ["a.ru"]
    unread = [line for line in logs if line["event"] == "gaps that another process has left can't be read"]
    assert [line["log_level"] for line in unread] == ["error"] * is_told
    assert all(str(tmp_path / name) in line["error"] for line in unread)
    await after.close()


async def test_a_book_that_can_not_be_read_keeps_no_other_from_being_told(tmp_path: Path) -> None:
    first = await Site(tmp_path, looks_every_s=0.01).open()
    await left_by_two(tmp_path)
    (tmp_path / "gaps-1").unlink()
    (tmp_path / "gaps-1").mkdir()

    async with asyncio.timeout(60):
        while not first.markers():
            await first.sleeps.pass_()

    assert [portal for portal, _, _ in first.markers()] == ["c.ru"]
    await first.close()


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


class HangsUntilTheEnd(MemoryQueue):
    """Tells what became of a record when it is closed: nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Delivery] = []
        self.asked, self.is_closed = asyncio.Event(), False

    def producer(self) -> MemoryProducer:
        """One that hangs."""
        return HangingProducer(self)


class HangingProducer(MemoryProducer):
    """Keeps nothing."""

    def __init__(self, queue: HangsUntilTheEnd) -> None:
        super().__init__(queue)
        self._hangs = queue

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        """As in the contract, without an end."""
        if self._hangs.is_closed:
            raise QueueUnavailable("closed")
        self._hangs.waiting.append(delivery)
        self._hangs.asked.set()

    async def close(self) -> None:
        """As in the contract."""
        self._hangs.is_closed = True
        for delivery in self._hangs.waiting:
            settle(delivery, QueueUnavailable("it hangs"))


async def left(folder: Path, portal: str) -> None:
    """The portal's gap of one call, in a book."""
    gone = await Site(folder).open()
    gone.queue.down = True
    gone.refuse(portal)
    await gone.close()


@pytest.mark.parametrize("before", [0, 1], ids=["an-event", "a-marker-before-it"])
async def test_what_waits_for_the_queue_as_the_process_ends_is_answered_and_told_by_the_next(
    tmp_path: Path, before: int
) -> None:
    if before:
        await left(tmp_path / FOLDER, "a.bitrix24.ru")
    queue = HangsUntilTheEnd()
    async with running(queue, data_dir=tmp_path) as ingest:
        calling = asyncio.create_task(ingest.post())
        await queue.asked.wait()

    assert (await calling).status_code == 503
    book = own_book(tmp_path / FOLDER)
    assert book
    assert [(gap.portal, gap.calls) for gap in book.gaps] == [("a.bitrix24.ru", before + 1)]
    book.close()


async def test_a_marker_that_the_queue_takes_at_the_end_of_the_process_is_not_told_again(tmp_path: Path) -> None:
    await left(tmp_path, "a.ru")
    queue = HangsUntilTheEnd()
    site = await Site(tmp_path, queue).open()
    await site.sleeps.pass_()
    await queue.asked.wait()

    site.gaps.stop()
    settle(queue.waiting.pop(), Position(partition=0, offset=0))
    await site.outlet.close()
    await site.gaps.close()

    assert [path.name for path in tmp_path.iterdir()] == ["gaps-0.lock"]


async def test_what_a_process_leaves_that_ends_beside_another_is_told_by_that_one(tmp_path: Path) -> None:
    old = await Site(tmp_path).open()
    new = await Site(tmp_path, old.queue, looks_every_s=0.01).open()
    old.refuse("a.example")
    old.refuse("a.example", at_ms=2_000)
    await old.close()

    async with asyncio.timeout(60):
        while not new.markers():
            await new.sleeps.pass_()
    for _ in range(3):
        await new.sleeps.pass_()

    assert new.markers() == [("a.example", "1970-01-01T00:00:01.000+00:00", "2")]
    assert len(new.gaps) == 0
    await new.close()
