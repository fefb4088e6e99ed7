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
from forebay.ingest.spool.spool import Done, Spool
from forebay.ingest.spool.store import Store
from forebay.queues.contract import Delivery, Position, Producer, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryProducer, MemoryQueue
from tests.spool.stores import LARGE, Stores, numbers, put

RECORD = Record(key="a.ru", value=b"1", timestamp_ms=1)

#: What is foreseen, and what is not.
FAULTS = [QueueUnavailable("it is not there yet"), TypeError("a client's own fault")]
NAMES = ["foreseen", "unforeseen"]


async def at_once(seconds: float) -> None:
    """Wait for nobody."""
    await asyncio.sleep(0)


async def until_it_takes(outlet: Outlet) -> None:
    """Let the loop turn until the outlet says that the queue takes events."""
    while True:
        try:
            return await outlet.check()
        except QueueUnavailable:
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


class Hangs(MemoryQueue):
    """Takes what it is given, and says nothing of it; its producer gives up when nobody waits any more."""

    def producer(self) -> Producer:
        """As in the contract."""
        return HangingProducer()


class HangingProducer:
    """The one of a queue that hangs."""

    def __init__(self) -> None:
        self.under_way: list[Delivery] = []

    async def send(self, stream: str, record: Record) -> Position:
        """As in the contract."""
        delivered: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self.submit(stream, record, delivered)
        return await delivered

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        """As in the contract."""
        self.under_way.append(delivery)

    async def check(self) -> None:
        """As in the contract."""

    async def close(self) -> None:
        """As in the contract: cancelled, it gives up what it has under way."""
        try:
            await asyncio.Event().wait()
        finally:
            for delivery in self.under_way:
                delivery.set_exception(QueueUnavailable("closed before it had an answer"))


class Full(Spool):
    """Takes nothing, and says so at once."""

    def put(self, stream: str, record: Record, done: Done, *, undecided: bool = False) -> None:
        """As the spool's where it is full."""
        done(SpoolUnavailable("no room"))


async def test_what_a_stop_gives_up_is_not_told_as_failed_when_the_spool_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.ingest.outlet._FLUSH_S", 0.01)
    outlet = Outlet(Hangs(), topic="events", partitions=1, spool=Full(tmp_path, LARGE), deadline_s=0.01)
    await outlet.open()
    await until_it_takes(outlet)

    sending = asyncio.ensure_future(outlet.send("events", RECORD))
    await outlet.close()
    # Whatever it is told, it is told by now.
    await asyncio.sleep(0)

    # The queue may have it yet, and whoever is told that nothing was kept sends it again.
    assert not sending.done()
    sending.cancel()


class Closing(MemoryQueue):
    """Its producer takes nothing any more when it is closed, which may fail."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error

    def producer(self) -> Producer:
        """As in the contract."""
        error = self.error

        class ClosingProducer(MemoryProducer):
            def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
                if self._queue.down:
                    raise QueueUnavailable("this producer was closed")
                super().submit(stream, record, delivery)

            async def close(self) -> None:
                self._queue.down = True
                if error is not None:
                    raise error

        return ClosingProducer(self)


async def test_what_stands_in_the_queue_is_not_left_in_the_spool_where_the_producer_can_not_be_closed(
    stores: Stores, tmp_path: Path
) -> None:
    queue = Closing(RuntimeError("can't start new thread"))
    other, outlet = stores.open(), Outlet(queue, topic="events", partitions=1, spool=Spool(tmp_path, LARGE))
    await outlet.open()
    await until_it_takes(outlet)
    assert outlet._drain is not None
    outlet._drain._delete = asyncio.Event().wait  # type: ignore[method-assign, assignment]
    other.put([put(1)])
    async with asyncio.timeout(10):
        while not outlet._drain._gone:
            await asyncio.sleep(0.001)
    del outlet._drain._delete

    with pytest.raises(RuntimeError):
        await outlet.close()

    assert other.counts.records == 0
    assert stores.folder.draining.take()


async def test_an_event_that_comes_when_all_is_closed_is_told_to_be_kept_nowhere(tmp_path: Path) -> None:
    outlet = Outlet(Closing(), topic="events", partitions=1, spool=Spool(tmp_path, LARGE))
    await outlet.open()
    await until_it_takes(outlet)
    passage = outlet._passage
    await outlet.close()

    answers = asyncio.get_running_loop().create_future()
    begun = outlet.begin("events", RECORD, answers)
    with pytest.raises(QueueUnavailable):
        await outlet.send("events", RECORD)

    assert not begun
    assert (outlet.spool_state, outlet.spool_why_not) == ("", "the process ends")
    # Of one that was about to be spooled.
    assert passage is not None
    async with asyncio.timeout(10):
        assert isinstance(await passage._put("events", RECORD), SpoolUnavailable)
