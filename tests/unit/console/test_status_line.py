"""The line at the bottom of `forebay up`, of a queue that is away for a moment."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from io import StringIO

import pytest

from forebay.console.processes.status import StatusLine, report
from forebay.queues.contract import Bounds, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryInspector, MemoryQueue
from forebay.schemas import names

TOPIC = "events"


class Away(MemoryInspector):
    """Does not find what it is asked about, as long as it stands there."""

    away = ""

    async def bounds(self, stream: str, only: Collection[int] | None = None) -> dict[int, Bounds]:
        if stream == self.away:
            raise QueueUnavailable(f"nobody answers for {stream}")
        return await super().bounds(stream, only)


@pytest.mark.parametrize("away", [TOPIC, names.parked(TOPIC), names.audit(TOPIC)])
async def test_what_can_t_be_read_at_first_is_told_and_ends_nothing(monkeypatch: pytest.MonkeyPatch, away: str) -> None:
    monkeypatch.setattr("forebay.console.processes.status._PLAIN_EVERY_S", 0.01)
    queue, stream = MemoryQueue(), StringIO()
    await queue.ensure(names.streams(TOPIC), 2)
    inspector = Away(queue)
    inspector.away = away
    reporting = asyncio.create_task(report(inspector, TOPIC, ["forebay"], StatusLine(stream)))

    while not reporting.done() and f"the queue can't be asked: nobody answers for {away}\n" not in stream.getvalue():
        await asyncio.sleep(0.01)
    inspector.away = ""
    while not reporting.done() and "received 1 " not in stream.getvalue():
        await queue.producer().send(TOPIC, Record(key="shop.example", value=b"", timestamp_ms=0))
        await asyncio.sleep(0.02)

    assert not reporting.done()
    reporting.cancel()
    with suppress(asyncio.CancelledError):
        await reporting
