"""The way into the queue is opened for as long as that takes, whatever goes wrong."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from forebay.ingest.outlet import Outlet
from forebay.ingest.spool.errors import SpoolUnavailable
from forebay.ingest.spool.spool import Spool
from forebay.queues.contract import Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryQueue

LARGE = 1 << 30
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
