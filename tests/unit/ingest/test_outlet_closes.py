"""The way into the queue is closed: what is on its way stands somewhere, whatever goes wrong."""

import asyncio
from pathlib import Path

import pytest

from forebay.ingest.outlet import Outlet
from forebay.ingest.spool.errors import SpoolUnavailable
from forebay.ingest.spool.spool import Done, Spool
from forebay.queues.contract import Delivery, Position, Producer, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryProducer, MemoryQueue
from tests.spool.stores import LARGE, Stores, put

from .conftest import until_it_takes

RECORD = Record(key="a.ru", value=b"1", timestamp_ms=1)


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
