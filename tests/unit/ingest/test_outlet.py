"""The way into the queue is opened for as long as that takes, whatever goes wrong."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from forebay.ingest.outlet import Outlet
from forebay.ingest.spool.errors import SpoolUnavailable
from forebay.ingest.spool.passage import BACKLOG_LOOK_S
from forebay.ingest.spool.spool import Spool
from forebay.ingest.spool.store import Store
from forebay.queues.contract import Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryQueue
from tests.spool.stores import LARGE, Stores, numbers, put

from .conftest import until_it_takes

RECORD = Record(key="a.ru", value=b"1", timestamp_ms=1)

#: What is foreseen, and what is not.
FAULTS = [QueueUnavailable("it is not there yet"), TypeError("a client's own fault")]
NAMES = ["foreseen", "unforeseen"]


async def at_once(seconds: float) -> None:
    """Wait for nobody."""
    await asyncio.sleep(0)


class SlowToMake(MemoryQueue):
    """Fails at first, when it is asked for its streams."""

    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self.faults = [fault] * 3

    async def ensure(self, streams: Iterable[str], partitions: int) -> list[str]:
        """As in the contract, at last."""
        if self.faults:
            raise self.faults.pop()
        return await super().ensure(streams, partitions)


@pytest.mark.parametrize("fault", FAULTS, ids=NAMES)
async def test_streams_are_made_when_what_kept_them_from_being_made_has_passed(fault: Exception) -> None:
    outlet = Outlet(SlowToMake(fault), topic="events", partitions=1, sleep=at_once)

    with capture_logs() as told:
        await outlet.open()
        async with asyncio.timeout(10):
            await until_it_takes(outlet)

    assert await outlet.send("events", RECORD) is False
    [warning] = [line for line in told if line["log_level"] == "warning"]
    assert str(fault) in warning["error"]
    await outlet.close()


class MadeLater(MemoryQueue):
    """Takes its time, when it is asked for its streams."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go_on = asyncio.Event()

    async def ensure(self, streams: Iterable[str], partitions: int) -> list[str]:
        """As in the contract, in time."""
        await self.may_go_on.wait()
        return await super().ensure(streams, partitions)


async def test_that_a_start_takes_a_moment_is_no_trouble_and_told_as_none(tmp_path: Path) -> None:
    outlet = Outlet(queue := MadeLater(), topic="events", partitions=1, spool=Spool(tmp_path, LARGE), sleep=at_once)

    with capture_logs() as told:
        await outlet.open()
        is_spooled = await outlet.send("events", RECORD)
        queue.may_go_on.set()
        async with asyncio.timeout(10):
            await until_it_takes(outlet)

    assert is_spooled
    assert [line["event"] for line in told] == ["the queue is open"]
    await outlet.close()


class NeverOpens(Spool):
    """Can't be opened."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, LARGE)

    async def open(self) -> None:
        """As the spool's where the disk does not let it."""
        raise SpoolUnavailable("no room")


class SlowToOpen(Spool):
    """Fails at first, when it is opened."""

    def __init__(self, folder: Path, fault: Exception) -> None:
        super().__init__(folder, LARGE)
        self.faults = [fault] * 3

    async def open(self) -> None:
        """As the spool's, at last."""
        if self.faults:
            raise self.faults.pop()
        await super().open()


@pytest.mark.parametrize("fault", [SpoolUnavailable("no room"), RuntimeError("can't start new thread")], ids=NAMES)
async def test_a_spool_is_opened_when_what_kept_it_from_being_opened_has_passed(
    tmp_path: Path, fault: Exception
) -> None:
    outlet = Outlet(MemoryQueue(), topic="events", partitions=1, spool=SlowToOpen(tmp_path, fault), sleep=at_once)
    await outlet.open()
    without = outlet.spool_why_not

    async with asyncio.timeout(10):
        while not outlet.spool_state:
            await asyncio.sleep(0)

    assert str(fault) in without
    await outlet.close()


async def while_backlogged(outlet: Outlet, store: Store) -> "asyncio.Task[bool]":
    """A record of a portal of which another process has one in the spool, when it has waited for some time."""
    store.put([put(1, RECORD.key)])
    await outlet.open()
    sending = asyncio.ensure_future(outlet.send("events", RECORD))
    for _ in range(10):
        await asyncio.sleep(0)
    return sending


async def test_a_portals_backlog_is_not_passed_by_while_the_spool_can_not_be_opened(
    stores: Stores, tmp_path: Path
) -> None:
    other, queue = stores.open(), MemoryQueue()
    outlet = Outlet(queue, topic="events", partitions=1, spool=NeverOpens(tmp_path), sleep=at_once)
    sending = await while_backlogged(outlet, other)
    waited = not sending.done()

    other.delete(other.heads(0, 1))

    assert (waited, await sending) == (True, False)
    assert queue.logs["events"]
    await outlet.close()


async def test_an_event_behind_a_backlog_that_stays_is_refused(stores: Stores, tmp_path: Path) -> None:
    queue = MemoryQueue()
    outlet = Outlet(queue, topic="events", partitions=1, spool=NeverOpens(tmp_path), sleep=at_once)
    sending = await while_backlogged(outlet, stores.open())

    with pytest.raises(QueueUnavailable, match="no room"):
        await sending

    assert await outlet.send("events", replace(RECORD, key="b.ru")) is False
    assert not [record for log in queue.logs["events"] for record in log if record.key == RECORD.key]
    await outlet.close()


async def test_an_event_that_waits_for_its_portals_backlog_goes_behind_it_once_the_spool_is_open(
    stores: Stores, tmp_path: Path
) -> None:
    other = stores.open()
    # So that nobody sends it meanwhile.
    assert stores.folder.draining.take()
    spool = SlowToOpen(tmp_path, SpoolUnavailable("no room"))

    async def patiently(seconds: float) -> None:
        # A call's patience is counted; that of who opens the spool is not.
        while seconds == BACKLOG_LOOK_S and not outlet.spool_state:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)

    outlet = Outlet(MemoryQueue(), topic="events", partitions=1, spool=spool, sleep=patiently)
    sending = await while_backlogged(outlet, other)

    assert await sending is True
    assert numbers(other) == [b"1", RECORD.value]
    await outlet.close()


async def test_an_event_whose_portal_does_not_come_out_of_the_spool_in_time_goes_behind_it(
    stores: Stores, tmp_path: Path
) -> None:
    other, queue = stores.open(), MemoryQueue()
    # So that nobody sends it.
    assert stores.folder.draining.take()
    outlet = Outlet(queue, topic="events", partitions=1, spool=Spool(tmp_path, LARGE), deadline_s=0.01)
    await outlet.open()
    await until_it_takes(outlet)
    other.put([put(1, RECORD.key)])

    assert await outlet.send("events", RECORD) is True

    assert numbers(other) == [b"1", RECORD.value]
    await outlet.close()


class Large(Spool):
    """Its opening takes as long as the test says."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, LARGE)
        self.is_counted = asyncio.Event()

    async def open(self) -> None:
        """As the spool's, at last."""
        await self.is_counted.wait()
        await super().open()


async def test_a_start_does_not_wait_for_ever_for_a_spool_that_is_large_and_no_event_passes_what_is_in_it(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.ingest.outlet._PATIENCE_S", 0.01)
    other, queue, spool = stores.open(), MemoryQueue(), Large(tmp_path)
    outlet = Outlet(queue, topic="events", partitions=1, spool=spool)

    async with asyncio.timeout(10):
        sending = await while_backlogged(outlet, other)
        await until_it_takes(outlet)
        of_another = await outlet.send("events", replace(RECORD, key="b.ru"))
        waited = not sending.done()
        spool.is_counted.set()
        await sending
        while other.counts.records:
            await asyncio.sleep(0.001)

    assert (of_another, waited) == (False, True)
    assert [(record.key, record.value) for log in queue.logs["events"] for record in log] == [
        ("b.ru", RECORD.value),
        ("a.ru", b"1"),
        ("a.ru", RECORD.value),
    ]
    await outlet.close()
