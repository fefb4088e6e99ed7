"""A worker on a Kafka, with waits that are short, and a look at how far its group is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from forebay import Handlers
from forebay.processors.settings import WorkerSettings
from forebay.processors.testing import event
from forebay.processors.worker import Worker
from forebay.queues.contract import GroupState, Queue
from forebay.queues.errors import QueueUnavailable
from forebay.schemas.codec import codec
from tests.kafka.members import SESSION_S


def encoded(number: int, portal: str = "p.example", text: str = "") -> bytes:
    """An event as a record's value."""
    return codec().encode(event("ONCRMDEALADD", data={"FIELDS": {"ID": number, "TEXT": text}}, portal=portal))


@dataclass
class Site:
    """A queue, a topic of one partition whose name is the group's too unless that is said, and what was handled."""

    queue: Queue
    topic: str
    partitions: int = 1
    handlers: Handlers = field(default_factory=Handlers)
    handled: list[int] = field(default_factory=list)
    group: str = ""
    max_held_records: int = 20_000

    def __post_init__(self) -> None:
        self.group = self.group or self.topic

        @self.handlers.on("*")
        async def handle(event: Any) -> None:
            await self.handle(int(event.fields["data[FIELDS][ID]"]))

    async def handle(self, number: int) -> None:
        """What the handler does; a test may put another in its place."""
        self.handled.append(number)

    def worker(self) -> Worker:
        """A worker that does not run yet."""
        settings = WorkerSettings(
            topic=self.topic,
            group=self.group,
            partitions=self.partitions,
            session_s=SESSION_S,
            max_held_records=self.max_held_records,
            retry_first_s=0.001,
            park_first_s=0.5,
            commit_interval_s=0.02,
            drain_s=5.0,
        )
        return Worker(settings, self.handlers, self.queue)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[Worker]:
        """A worker that runs, until it is stopped as by SIGTERM."""
        worker = self.worker()
        running = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await running

    async def state(self) -> GroupState:
        """How far the group is in the first partition."""
        inspector = self.queue.inspector()
        groups = await inspector.groups(self.topic)
        await inspector.close()
        return groups.get(self.group, {}).get(0, GroupState(offset=0, owner=None))

    async def commits(self, offset: int) -> None:
        """Return when the group is there."""
        async with asyncio.timeout(60):
            while await self._offset() != offset:
                await asyncio.sleep(0.02)

    async def _offset(self) -> int | None:
        """None while the cluster doesn't say: the coordinator of a new group may still be starting."""
        try:
            return (await self.state()).offset
        except QueueUnavailable:
            return None
