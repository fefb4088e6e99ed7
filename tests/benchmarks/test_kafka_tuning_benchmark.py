"""What single properties of librdkafka are worth: ours beside the client's default, or what others advise.

Each round goes through all of them in turn, so that what else the machine does falls on each alike.
"""

import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from forebay.queues.contract import Queue
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.benchmarks.traffic import PARTITIONS, Owner, drain, send_all
from tests.kafka.fixtures import Kafka

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

ROUNDS = 3
SENT, READ = 20_000, 400_000
CONCURRENCY = (8, 32, 128)
US, MS = 1_000_000, 1000

#: The first is ours.
SENDING: Sequence[Mapping[str, str | int]] = (
    {},
    {"linger.ms": 2},
    {"linger.ms": 5},
    {"compression.type": "none"},
    {"compression.type": "snappy"},
    {"compression.type": "zstd"},
)
READING: Sequence[Mapping[str, str | int]] = (
    {},
    {"fetch.message.max.bytes": 1_048_576},
    {"fetch.queue.backoff.ms": 1000},
    {"queued.max.messages.kbytes": 65_536, "queued.min.messages": 100_000},
    {"fetch.wait.max.ms": 500},
)


@asynccontextmanager
async def opened(kafka: Kafka, folder: Path, stream: str, properties: Mapping[str, str | int]) -> AsyncIterator[Queue]:
    settings = QueueSettings(
        data_dir=folder, queue_url=f"kafka://{kafka.bootstrap}", topic=stream, kafka=dict(properties)
    )
    queue = open_queue(settings)
    await queue.ensure([stream], PARTITIONS)
    yield queue
    await queue.close()


def named(properties: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in properties.items()) or "ours"


async def test_sending(kafka: Kafka, tmp_path: Path) -> None:
    for concurrency in CONCURRENCY:
        found: dict[str, list[tuple[float, float, float]]] = {}
        for _ in range(ROUNDS):
            for properties in SENDING:
                run = await sent(kafka, tmp_path, properties, concurrency)
                found.setdefault(named(properties), []).append(run)
        print(f"\nsend, {concurrency} at a time")
        show(found, ("us CPU", "p50 ms", "p99 ms"))


async def sent(
    kafka: Kafka, folder: Path, properties: Mapping[str, str | int], concurrency: int
) -> tuple[float, float, float]:
    """CPU microseconds a record, and what half of the calls took, and 99 of a hundred, in milliseconds."""
    stream = f"events-{uuid4().hex}"
    async with opened(kafka, folder, stream, properties) as queue:
        producer = queue.producer()
        await producer.check()
        await send_all(producer, stream, concurrency, SENT // 10)
        cpu = time.process_time()
        took = await send_all(producer, stream, concurrency, SENT)
        each = (time.process_time() - cpu) / SENT * US
        await producer.close()
    return each, took[SENT // 2] * MS, took[SENT * 99 // 100] * MS


async def test_reading(kafka: Kafka, tmp_path: Path) -> None:
    stream = f"events-{uuid4().hex}"
    async with opened(kafka, tmp_path, stream, {}) as queue:
        producer = queue.producer()
        await send_all(producer, stream, 2000, READ)
        await producer.close()
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(ROUNDS):
        for properties in READING:
            found.setdefault(named(properties), []).append(await read(kafka, tmp_path, stream, properties))
    print("\nread")
    show(found, ("s for 400,000", "us CPU"))


async def read(kafka: Kafka, folder: Path, stream: str, properties: Mapping[str, str | int]) -> tuple[float, float]:
    """Seconds for all of them, and CPU microseconds a record."""
    async with opened(kafka, folder, stream, properties) as queue:
        consumer, owner = queue.consumer(stream, f"group-{uuid4().hex}"), Owner()
        await consumer.start(owner)
        await owner.all.wait()
        wall, cpu = time.perf_counter(), time.process_time()
        await drain(consumer, READ)
        taken = time.perf_counter() - wall, (time.process_time() - cpu) / READ * US
        await consumer.close()
    return taken


def show(found: Mapping[str, Sequence[Sequence[float]]], units: Sequence[str]) -> None:
    """A line for each: the medians, and how many times those of ours they are."""
    ours = [statistics.median(run[place] for run in found["ours"]) for place in range(len(units))]
    for name, runs in found.items():
        values = [statistics.median(run[place] for run in runs) for place in range(len(units))]
        told = [
            f"{value:7.2f} {unit} (x{value / own:4.2f})" for value, unit, own in zip(values, units, ours, strict=True)
        ]
        print(f"  {name:66} {'  '.join(told)}")
