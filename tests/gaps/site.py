"""Gaps in front of a queue in memory, and time that passes when a test says so."""

import asyncio
from pathlib import Path

from forebay.ingest.address import Address
from forebay.ingest.authenticate import Sender
from forebay.ingest.gaps.gaps import Gaps
from forebay.ingest.metrics import IngestMetrics
from forebay.ingest.outlet import Outlet
from forebay.ingest.record import Receipt
from forebay.queues.memory import MemoryQueue
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

    def __init__(
        self, folder: Path | None, queue: MemoryQueue | None = None, most: int = 100, looks_every_s: float = 10.0
    ) -> None:
        self.queue = queue or MemoryQueue()
        self.outlet = Outlet(self.queue, topic="events", partitions=1)
        self.metrics, self.sleeps = IngestMetrics(), Sleeps()
        self.gaps = Gaps(
            folder, self.outlet, codec(), self.metrics, most=most, looks_every_s=looks_every_s, sleep=self.sleeps
        )

    async def open(self) -> "Site":
        await self.outlet.open()
        for _ in range(5):
            await asyncio.sleep(0)
        self.gaps.open()
        return self

    def refuse(self, portal: str, at_ms: int = 1_000) -> None:
        sender = Sender(portal=portal, member_id="m", verified=True, address=Address(path="", query=""))
        self.gaps.note(sender, Receipt(id="i", at_us=at_ms * 1000, endpoint="/bitrix24", traceparent=None))

    def markers(self) -> list[tuple[str, str, str]]:
        events = [codec().decode(record.value) for log in self.queue.logs["events"] for record in log]
        return sorted((one.portal, one.fields["data[FROM]"], one.fields["data[COUNT]"]) for one in events)

    async def close(self) -> None:
        await self.gaps.close()
        await self.outlet.close()

    def count(self, name: str) -> float:
        (line,) = [
            line for line in self.metrics.exposition().decode().splitlines() if line.startswith(f"forebay_{name} ")
        ]
        return float(line.split()[-1])
