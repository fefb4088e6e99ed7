"""An ingest and workers in this process, on a queue in memory and a schema registry."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from falcon.testing import ASGIConductor

from forebay import Handlers, PortalEvent
from forebay.ingest.app import create_app
from forebay.ingest.settings import IngestSettings
from forebay.processors.settings import WorkerSettings
from forebay.processors.testing import event
from forebay.processors.worker import Worker
from forebay.queues.contract import Queue, Record, StoredRecord
from forebay.queues.memory import MemoryQueue
from forebay.queues.registry.contract import Registry
from forebay.queues.registry.opening import open_registry
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from forebay.schemas.codec import codec

from .fixtures import AnyRegistry

TOPIC = "bitrix24.events"
PARTITIONS = 4
PORTAL = "one.bitrix24.example"

#: What the worker and the ingest under test allow a registry: one that hangs is part of the tests.
SHORT_S = 1.0
#: What an answer may take where one is sure to come.
LONG_S = 30.0


def given(registry: AnyRegistry, timeout_s: float = SHORT_S, **more: Any) -> dict[str, Any]:
    """Settings with this registry."""
    return {"schema_registry_url": registry.url, "schema_registry": {"timeout": timeout_s}, **more}


@asynccontextmanager
async def asking(registry: AnyRegistry, timeout_s: float = LONG_S, **settings: Any) -> AsyncIterator[Registry]:
    """The client of the registry."""
    opened = open_registry(QueueSettings(**given(registry, timeout_s, **settings)))
    assert opened is not None
    yield opened
    await opened.close()


async def until_said(condition: Callable[[], Awaitable[object]]) -> None:
    """Return when it is said."""
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.002)


@dataclass(kw_only=True)
class Gate:
    """An ingest that runs."""

    conductor: ASGIConductor

    async def post(self, number: int, portal: str = PORTAL) -> None:
        """Send an event, which must be accepted."""
        body = f"event=ONCRMDEALADD&data[FIELDS][ID]={number}&auth[domain]={portal}"
        result = await self.conductor.simulate_post("/bitrix24", body=body)
        assert (result.status_code, result.json["status"]) == (200, "accepted")

    async def ready(self) -> tuple[int, Any]:
        """The status and the body of /ready."""
        result = await self.conductor.simulate_get("/ready")
        return result.status_code, result.json

    async def is_ready(self, status: str) -> bool:
        """Whether it says that it is so."""
        return bool((await self.ready())[1]["status"] == status)

    async def says(self, text: str) -> bool:
        """Whether that is in what it says of the registry."""
        return text in (await self.ready())[1]["parts"]["schema_registry"]


@dataclass(kw_only=True)
class Site:
    """A queue and a registry, and what was started on them."""

    registry: AnyRegistry
    queue: Queue
    topic: str = TOPIC
    handlers: Handlers = field(default_factory=Handlers)
    handled: list[tuple[str, int]] = field(default_factory=list)
    running: list[tuple[Worker, Registry | None, "asyncio.Task[int]"]] = field(default_factory=list)

    def __post_init__(self) -> None:
        @self.handlers.on("*")
        async def handle(event: PortalEvent) -> None:
            self.handled.append((event.portal, int(event.fields["data[FIELDS][ID]"])))

    @asynccontextmanager
    async def ingest(self, **settings: Any) -> AsyncIterator[Gate]:
        """An ingest whose queue is open."""
        quick = {"topic": self.topic, "partitions": PARTITIONS, "auth": "none"}
        made = IngestSettings(**(given(self.registry) | quick | settings))
        ingest = create_app(made, self.queue, registry=open_registry(made))
        async with ASGIConductor(ingest.app) as conductor:
            gate = Gate(conductor=conductor)

            async def is_open() -> bool:
                return await ingest.health.queue_state() == "ok"

            await until_said(is_open)
            yield gate

    def worker(self, *, has_registry: bool = True, **settings: Any) -> Worker:
        """A worker that runs."""
        quick: dict[str, Any] = {"topic": self.topic, "partitions": PARTITIONS, "commit_interval_s": 0.01, "drain_s": 5}
        made = WorkerSettings(**((given(self.registry) if has_registry else {}) | quick | settings))
        registry = open_registry(made)
        worker = Worker(made, self.handlers, self.queue, registry=registry)
        self.running.append((worker, registry, asyncio.create_task(worker.run())))
        return worker

    async def stop(self) -> None:
        """Stop the workers."""
        while self.running:
            worker, registry, task = self.running.pop()
            worker.stop()
            await task
            if registry:
                await registry.close()

    async def send(self, value: bytes, portal: str = PORTAL) -> None:
        """Put a record with this value into the queue."""
        producer = self.queue.producer()
        await producer.send(self.topic, Record(key=portal, value=value, timestamp_ms=int(time.time() * 1000)))
        await producer.close()

    def records(self, stream: str | None = None) -> list[StoredRecord]:
        """What stands in the queue in memory."""
        assert isinstance(self.queue, MemoryQueue)
        return [record for log in self.queue.logs[stream or self.topic] for record in log]

    def dead(self) -> list[StoredRecord]:
        """The dead letters."""
        return self.records(names.dead(self.topic))


def plain(number: int, portal: str = PORTAL) -> bytes:
    """An event in the single-object encoding."""
    return codec().encode(event("ONCRMDEALADD", data={"FIELDS": {"ID": number}}, portal=portal))


def numbered(schema_id: int, number: int, portal: str = PORTAL) -> bytes:
    """The same in Confluent's wire format."""
    return b"\0" + schema_id.to_bytes(4) + plain(number, portal)[10:]
