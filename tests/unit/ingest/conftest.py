"""An ingest that runs in this process, with the queue in memory and no server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from falcon.testing import ASGIConductor, Result

from forebay.ingest.app import create_app
from forebay.ingest.health import Health
from forebay.ingest.metrics import IngestMetrics
from forebay.ingest.outlet import Outlet
from forebay.ingest.portals.verifier import Verifier
from forebay.ingest.settings import IngestSettings
from forebay.ingest.spool.spool import Spool
from forebay.queues.contract import StoredRecord
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryQueue
from forebay.queues.portals.memory import FactLog
from forebay.queues.tracing.contract import Tracer
from forebay.schemas.codec import codec
from forebay.schemas.event import PortalEvent
from tests.spool.stores import LARGE, FailingFile, Stores

TOKEN = "51856fefc120afa4b628cc82d3935cce"
AUTH = f"auth[domain]=A.Bitrix24.ru&auth[member_id]=m1&auth[access_token]=accessible&auth[application_token]={TOKEN}"
#: Far more than any of these needs.
LONG_S = 60.0

EVENT = f"event=onCrmDealAdd&event_handler_id=7&data[FIELDS][ID]=9&ts=1766047124&{AUTH}"


@dataclass(kw_only=True)
class Running:
    """An ingest that runs in this process."""

    queue: MemoryQueue
    conductor: ASGIConductor
    health: Health
    metrics: IngestMetrics

    async def post(self, body: str | bytes = EVENT, path: str = "/bitrix24", **headers: str) -> Result:
        """The answer to a form."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        target, _, query = path.partition("?")
        return await self.conductor.simulate_post(target, query_string=query, body=body, headers=given)

    def records(self, suffix: str = "") -> list[StoredRecord]:
        """What stands in the stream."""
        return [record for log in self.queue.logs[f"bitrix24.events{suffix}"] for record in log]

    def event(self) -> PortalEvent:
        """The only event in the queue."""
        (record,) = self.records()
        return codec().decode(record.value)


@asynccontextmanager
async def running(
    queue: MemoryQueue | None = None,
    *,
    spool: Spool | None = None,
    data_dir: Path | None = None,
    verifier: Verifier | None = None,
    tracer: Tracer | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    queue = queue or MemoryQueue()
    found_settings = IngestSettings(**({"auth": "tokens", "tokens": {"*": TOKEN}} | settings))
    ingest = create_app(found_settings, queue, spool=spool, data_dir=data_dir, verifier=verifier, tracer=tracer)
    async with ASGIConductor(ingest.app) as conductor:
        found = Running(queue=queue, conductor=conductor, health=ingest.health, metrics=ingest.metrics)
        if not queue.down:
            await until_open(ingest.health)
        yield found


async def until_read(facts: FactLog, is_read: Callable[[], bool]) -> None:
    """Let the loop turn until it is. Who waits for an empty log's first fact is told to look again."""
    while not is_read():
        written, facts.written = facts.written, asyncio.Event()
        written.set()
        await asyncio.sleep(0.001)


def facts_of(queue: MemoryQueue) -> FactLog:
    """What is known of the portals of the usual topic."""
    queue.portals("bitrix24.events")
    return queue.fact_logs["bitrix24.events.portals"]


async def until_open(health: Health) -> None:
    """Let the loop turn until the streams are made."""
    while await health.queue_state() != "ok":
        await asyncio.sleep(0.001)


async def until_it_takes(outlet: Outlet) -> None:
    """Let the loop turn until the outlet says that the queue takes events."""
    while True:
        try:
            return await outlet.check()
        except QueueUnavailable:
            await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a moment is no store that hangs. Whose test is about that says how long it is."""
    for limit in ("desk._LEAST_S", "desk._PATIENCE_S", "doorway._PATIENCE_S", "keys._PATIENCE_S"):
        monkeypatch.setattr(f"forebay.ingest.portals.{limit}", LONG_S)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    made = Stores(tmp_path)
    yield made
    made.close()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path, LARGE)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FailingFile]]:
    monkeypatch.setattr("forebay.ingest.spool.files.SpoolFile", FailingFile)
    yield FailingFile
    FailingFile.fails = None
