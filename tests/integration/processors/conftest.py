"""A worker over the memory queue: the real one, with waits too short to notice."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from forebay import Handlers
from forebay.processors.dedup.marks import Marks, MarksInMemory
from forebay.processors.metrics import WorkerMetrics
from forebay.processors.presence import since_boot
from forebay.processors.settings import WorkerSettings
from forebay.processors.testing import event
from forebay.processors.worker import Worker
from forebay.queues.contract import Record, StoredRecord
from forebay.queues.memory import MemoryQueue
from forebay.queues.tracing.contract import Tracer
from forebay.schemas import names
from forebay.schemas.codec import codec
from forebay.schemas.data_keys import WrappedKeys

TOPIC = "bitrix24.events"
PARTITIONS = 4


@dataclass
class Station:
    """A queue, handlers, and the workers that were started on them."""

    queue: MemoryQueue = field(default_factory=MemoryQueue)
    handlers: Handlers = field(default_factory=Handlers)
    marks: Marks = field(default_factory=MarksInMemory)
    running: dict[Worker, "asyncio.Task[int]"] = field(default_factory=dict)

    async def send(self, portal: str, name: str = "ONCRMDEALADD", id: int = 0, **record: Any) -> None:
        """Put an event, or a record with another value or headers, into the queue."""
        value = record.pop("value", None) or codec().encode(event(name, data={"FIELDS": {"ID": id}}, portal=portal))
        made = Record(key=portal, value=value, **{"timestamp_ms": int(time.time() * 1000), **record})
        await self.queue.producer().send(TOPIC, made)

    def start(
        self,
        *,
        metrics: WorkerMetrics | None = None,
        present: Callable[[], float] = since_boot,
        marks: Marks | None = None,
        data_keys: WrappedKeys | None = None,
        tracer: Tracer | None = None,
        **settings: Any,
    ) -> Worker:
        """A worker that runs."""
        quick: dict[str, Any] = {
            "partitions": PARTITIONS,
            "retry_first_s": 0.001,
            "commit_interval_s": 0.01,
            "concurrency": 16,
            "drain_s": 5.0,
            # A process that stood still for a moment has nothing to ask for here.
            "session_s": 300.0,
        }
        worker = Worker(
            WorkerSettings(**(quick | settings)),
            self.handlers,
            self.queue,
            data_keys=data_keys,
            metrics=metrics,
            present=present,
            marks=marks or self.marks,
            tracer=tracer,
        )
        self.running[worker] = asyncio.create_task(worker.run())
        return worker

    async def stop(self, worker: Worker) -> int:
        """Stop it, as SIGTERM does."""
        worker.stop()
        return await self.running.pop(worker)

    def dead(self) -> list[StoredRecord]:
        """Every dead letter."""
        return [record for log in self.queue.logs[names.dead(TOPIC)] for record in log]

    def committed(self) -> int:
        """The sum of the group's offsets: with gapless logs the number of finished records."""
        return sum(commit.offset for commit in self.queue.group_states[TOPIC, "forebay"].commits.values())


@pytest.fixture
async def station() -> AsyncIterator[Station]:
    made = Station()
    await made.queue.ensure(names.streams(TOPIC), PARTITIONS)
    yield made
    made.queue.down = False
    for worker in list(made.running):
        await made.stop(worker)


@pytest.fixture
def handlers(station: Station) -> Handlers:
    return station.handlers
