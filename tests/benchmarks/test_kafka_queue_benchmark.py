"""What the Kafka queue costs a record, beside the bare client on the same broker."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from forebay.queues import contract
from forebay.queues.contract import Queue
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.benchmarks.traffic import PARTITIONS, Owner, drain, record, send_all
from tests.kafka.fixtures import Kafka

pytestmark = pytest.mark.benchmark

RECORDS = 20_000
READ_RECORDS = 200_000
US = 1_000_000
MS = 1000


@pytest.fixture
def stream() -> str:
    return f"events-{uuid4().hex}"


@pytest.fixture
async def queue(kafka: Kafka, tmp_path: Path, stream: str) -> AsyncIterator[Queue]:
    queue = open_queue(QueueSettings(data_dir=tmp_path, queue_url=f"kafka://{kafka.bootstrap}", topic=stream))
    await queue.ensure([stream], PARTITIONS)
    yield queue
    await queue.close()


@pytest.fixture
async def producer(queue: Queue) -> AsyncIterator[contract.Producer]:
    producer = queue.producer()
    await producer.check()
    yield producer
    await producer.close()


def send_bare(bootstrap: str, stream: str) -> None:
    """The client alone: as many as it takes, nobody waits for one of them."""
    client = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "compression.type": "lz4"}
    )
    failed: list[object] = []

    def report(error: object, _: object) -> None:
        if error is not None:
            failed.append(error)

    for number in range(RECORDS):
        one = record(number)
        client.produce(stream, one.value, one.key, headers=list(one.headers), on_delivery=report)
        client.poll(0)
    client.flush()
    assert not failed


def spent(since: float) -> float:
    """CPU microseconds of this process for a record."""
    return (time.process_time() - since) * US


async def test_what_sending_costs(kafka: Kafka, queue: Queue, producer: contract.Producer, stream: str) -> None:
    await send_all(producer, stream, 32, RECORDS // 10)
    started = time.process_time()
    send_bare(kafka.bootstrap, stream)
    bare = spent(started) / RECORDS
    print(f"\nsend, the client alone: {bare:.1f} us CPU a record")

    for concurrency in (1, 8, 32, 128):
        records = RECORDS // 10 if concurrency == 1 else RECORDS
        wall, cpu = time.perf_counter(), time.process_time()
        took = await send_all(producer, stream, concurrency, records)
        each = spent(cpu) / records
        rate = records / (time.perf_counter() - wall)
        p50, p99 = took[records // 2] * MS, took[records * 99 // 100] * MS
        print(
            f"send, {concurrency} at a time: {rate:,.0f}/s, p50 {p50:.1f} p99 {p99:.1f} ms, "
            f"{each:.1f} us CPU a record ({each / bare:.1f} times the client alone)"
        )

    assert sum(one.end for one in (await queue.inspector().bounds(stream)).values()) > 0


def read_bare(bootstrap: str, stream: str) -> None:
    client = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": stream,
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 20,
            "queued.max.messages.kbytes": 16_384,
        }
    )
    client.assign([TopicPartition(stream, number, 0) for number in range(PARTITIONS)])
    found = 0
    while found < READ_RECORDS:
        found += len(client.consume(500, 1.0))
    client.close()


async def test_what_reading_costs(kafka: Kafka, queue: Queue, producer: contract.Producer, stream: str) -> None:
    await send_all(producer, stream, 2000, READ_RECORDS)
    wall, cpu = time.perf_counter(), time.process_time()
    read_bare(kafka.bootstrap, stream)
    bare = spent(cpu) / READ_RECORDS
    print(f"\nread, the client alone: {READ_RECORDS / (time.perf_counter() - wall):,.0f}/s, {bare:.1f} us CPU a record")

    consumer, owner = queue.consumer(stream, f"{stream}-group"), Owner()
    await consumer.start(owner)
    await owner.all.wait()
    wall, cpu = time.perf_counter(), time.process_time()
    await drain(consumer, READ_RECORDS)
    each = spent(cpu) / READ_RECORDS
    print(
        f"read, fetch and commit: {READ_RECORDS / (time.perf_counter() - wall):,.0f}/s, {each:.1f} us CPU a record "
        f"({each / bare:.1f} times the client alone)"
    )
    await consumer.close()

    assert owner.partitions == set()
