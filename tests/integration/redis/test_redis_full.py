"""A Redis whose memory is full of what was parked and is done."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from forebay import Handlers, PortalEvent
from forebay.processors.parking.trimming import Trimming
from forebay.processors.settings import WorkerSettings
from forebay.processors.testing import event
from forebay.processors.worker import Worker
from forebay.queues.contract import Queue, Record
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from forebay.schemas.codec import codec
from tests.redis.server import RedisServer, direct

TOPIC = "events"
PORTAL = "a.example"


class Shop:
    """Handles the portal's events, unless it is closed."""

    def __init__(self, queue: Queue) -> None:
        self.queue, self.is_closed, self.handlers = queue, False, Handlers()
        self.done: list[str] = []
        self.handlers.on("*")(self._handle)

    async def _handle(self, event: PortalEvent) -> None:
        if self.is_closed:
            raise ConnectionError("closed")
        self.done.append(event.id)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[Worker]:
        """A worker, until the block ends."""
        settings = WorkerSettings(
            topic=TOPIC,
            group="shop",
            partitions=1,
            session_s=5.0,
            memory_tries=1,
            park_first_s=0.05,
            park_longest_s=0.1,
            retry_first_s=0.01,
            commit_interval_s=0.05,
            drain_s=5.0,
        )
        worker = Worker(settings, self.handlers, self.queue)
        running = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await running

    async def send(self, count: int) -> None:
        """So many events."""
        producer = self.queue.producer()
        for _ in range(count):
            value = codec().encode(event("ONCRMDEALUPDATE", data={}, portal=PORTAL))
            await producer.send(TOPIC, Record(key=PORTAL, value=value, timestamp_ms=int(time.time() * 1000)))
        await producer.close()

    async def start(self) -> int:
        """Where the parked stream begins."""
        inspector = self.queue.inspector()
        try:
            return (await inspector.bounds(names.parked(TOPIC)))[0].start
        finally:
            await inspector.close()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():
            await asyncio.sleep(0.02)


async def test_a_worker_that_comes_when_the_memory_is_full_makes_room(
    redis_servers: Callable[..., RedisServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = redis_servers()
    queue = open_queue(QueueSettings(queue_url=server.url(), data_dir=tmp_path, retention_h=0))
    await queue.ensure(names.streams(TOPIC), 1)
    shop = Shop(queue)
    shop.is_closed = True
    async with shop.working() as worker:
        await shop.send(20)
        await until(lambda: any(one.parking and one.parking.portals for one in worker.ownership))
        shop.is_closed = False
        await until(lambda: len(shop.done) == 20)
    async with shop.working() as worker:
        # It claims the partition behind all of that.
        await until(lambda: any(one.parking and one.parking.is_ready for one in worker.ownership))
    assert await shop.start() == 0
    monkeypatch.setattr("forebay.processors.parking.trimming._EVERY_S", 0.05)
    monkeypatch.setattr("forebay.processors.parking.attendant.Trimming", partial(Trimming, worth=1))

    with direct(server.url()) as admin:
        [limit] = admin.config_get("maxmemory").values()
        admin.config_set("maxmemory", "1")
        async with shop.working(), asyncio.timeout(30):
            while await shop.start() <= 20:
                await asyncio.sleep(0.02)
            admin.config_set("maxmemory", limit)
            await shop.send(1)
            await until(lambda: len(shop.done) == 21)
    await queue.close()
