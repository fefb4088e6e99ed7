"""How fast the embedded queue is, end to end: `send` acknowledged after an fsync, `fetch`, `commit`."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.queues.contract import Commit, Consumer, Producer, Queue, Record
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings

pytestmark = pytest.mark.benchmark

STREAM = "bitrix24.events"
PARTITIONS = 12
RECORDS = 20_000
PORTALS = 200
COMMIT_EVERY_S = 1.0
VALUE = os.urandom(600)
HEADERS = tuple((f"ce_header{number}", b"0192f0c1-4f2e-7c3a") for number in range(7))


class Ready:
    """Knows when every partition is ours."""

    def __init__(self) -> None:
        self.partitions: set[int] = set()
        self.all = asyncio.Event()

    def assigned(self, partition: int, committed: Commit) -> None:
        self.partitions.add(partition)
        if len(self.partitions) == PARTITIONS:
            self.all.set()

    async def revoked(self, partition: int) -> None:
        self.partitions.discard(partition)

    def lost(self, partition: int) -> None:
        self.partitions.discard(partition)


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    queue = open_queue(QueueSettings(data_dir=tmp_path))
    await queue.ensure([STREAM], PARTITIONS)
    yield queue
    await queue.close()


@pytest.fixture
async def producer(queue: Queue) -> AsyncIterator[Producer]:
    producer = queue.producer()
    yield producer
    await producer.close()


@pytest.fixture
async def consumer(queue: Queue) -> AsyncIterator[Consumer]:
    consumer, ready = queue.consumer(STREAM, "bench"), Ready()
    await consumer.start(ready)
    await ready.all.wait()
    yield consumer
    await consumer.close()


def record(number: int) -> Record:
    return Record(
        key=f"portal{number % PORTALS}.bitrix24.ru", value=VALUE, timestamp_ms=time.time_ns(), headers=HEADERS
    )


async def send_all(producer: Producer, concurrency: int, records: int = RECORDS) -> list[float]:
    """The seconds that each call took, with so many at a time."""
    numbers, took = iter(range(records)), []

    async def sender() -> None:
        for number in numbers:
            started = time.perf_counter()
            await producer.send(STREAM, record(number))
            took.append(time.perf_counter() - started)

    await asyncio.gather(*(sender() for _ in range(concurrency)))
    return sorted(took)


async def drain(consumer: Consumer, records: int = RECORDS) -> list[float]:
    """The seconds from sent to fetched, of all; commits once a second and at the end, as the worker does."""
    ages: list[float] = []
    finished: dict[int, Commit] = {}
    committed_at = time.monotonic()
    while len(ages) < records:
        found = await consumer.fetch(500, 1.0)
        now = time.time_ns()
        ages += [(now - one.timestamp_ms) / 1e9 for one in found]
        finished |= {one.partition: Commit(offset=one.offset + 1) for one in found}
        if time.monotonic() - committed_at > COMMIT_EVERY_S or len(ages) == records:
            await consumer.commit(finished)
            committed_at = time.monotonic()
    return sorted(ages)


def told(what: str, seconds: float, cpu: float, took: list[float]) -> None:
    middle, worst = took[len(took) // 2] * 1e3, took[len(took) * 99 // 100] * 1e3
    per_record = cpu / len(took) * 1e6
    print(f"\n{what}: {len(took) / seconds:,.0f}/s, {per_record:.0f} µs CPU each, p50 {middle:.2f} p99 {worst:.2f} ms")


@pytest.mark.parametrize("concurrency", [1, 8, 64, 512])
async def test_sending(producer: Producer, concurrency: int) -> None:
    started, cpu = time.perf_counter(), time.process_time()

    took = await send_all(producer, concurrency, RECORDS if concurrency > 1 else RECORDS // 10)

    told(f"send, {concurrency} at a time", time.perf_counter() - started, time.process_time() - cpu, took)


async def test_fetching_what_waits(producer: Producer, consumer: Consumer) -> None:
    await send_all(producer, 256)
    started, cpu = time.perf_counter(), time.process_time()

    took = await drain(consumer)

    told("fetch and commit", time.perf_counter() - started, time.process_time() - cpu, took)


async def test_end_to_end(producer: Producer, consumer: Consumer) -> None:
    started, cpu = time.perf_counter(), time.process_time()

    _, ages = await asyncio.gather(send_all(producer, 64), drain(consumer))

    told("sent, fetched and committed", time.perf_counter() - started, time.process_time() - cpu, ages)
