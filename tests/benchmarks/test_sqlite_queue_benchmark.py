"""How fast the embedded queue is, end to end: `send` acknowledged after an fsync, `fetch`, `commit`."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.queues.contract import Consumer, Producer, Queue
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.benchmarks.traffic import PARTITIONS, Owner, drain, send_all

pytestmark = pytest.mark.benchmark

STREAM = "bitrix24.events"
RECORDS = 20_000


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
    consumer, ready = queue.consumer(STREAM, "bench"), Owner()
    await consumer.start(ready)
    await ready.all.wait()
    yield consumer
    await consumer.close()


def told(what: str, seconds: float, cpu: float, took: list[float]) -> None:
    middle, worst = took[len(took) // 2] * 1e3, took[len(took) * 99 // 100] * 1e3
    per_record = cpu / len(took) * 1e6
    print(f"\n{what}: {len(took) / seconds:,.0f}/s, {per_record:.0f} µs CPU each, p50 {middle:.2f} p99 {worst:.2f} ms")


@pytest.mark.parametrize("concurrency", [1, 8, 64, 512])
async def test_sending(producer: Producer, concurrency: int) -> None:
    started, cpu = time.perf_counter(), time.process_time()

    took = await send_all(producer, STREAM, concurrency, RECORDS if concurrency > 1 else RECORDS // 10)

    told(f"send, {concurrency} at a time", time.perf_counter() - started, time.process_time() - cpu, took)


async def test_fetching_what_waits(producer: Producer, consumer: Consumer) -> None:
    await send_all(producer, STREAM, 256, RECORDS)
    started, cpu = time.perf_counter(), time.process_time()

    took = await drain(consumer, RECORDS)

    told("fetch and commit", time.perf_counter() - started, time.process_time() - cpu, took)


async def test_end_to_end(producer: Producer, consumer: Consumer) -> None:
    started, cpu = time.perf_counter(), time.process_time()

    _, ages = await asyncio.gather(send_all(producer, STREAM, 64, RECORDS), drain(consumer, RECORDS))

    told("sent, fetched and committed", time.perf_counter() - started, time.process_time() - cpu, ages)
