"""What a worker has in hand where many partitions wait, each with more than it holds."""

import asyncio
import random
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from forebay.schemas import names
from tests.integration.kafka.working import Site, encoded
from tests.kafka.fixtures import Kafka
from tests.kafka.opener import Opener
from tests.waiting import until

pytestmark = pytest.mark.kafka

PARTITIONS, WAITING, CHARACTERS, HELD = 4, 2500, 1000, 1500

#: As the ingest writes them at most.
BATCH = 60_000


async def test_portals_of_every_partition_are_handled_at_once(kafka: Kafka, opened: Opener) -> None:
    site = Site(opened(kafka.bootstrap), f"events-{uuid4().hex[:12]}", PARTITIONS, max_held_records=HELD)
    await site.queue.ensure(names.streams(site.topic), PARTITIONS)
    fill(kafka, site.topic)
    begun, may_end = set[int](), asyncio.Event()

    async def handle(number: int) -> None:
        begun.add(number)
        await may_end.wait()

    site.handle = handle  # type: ignore[method-assign]  # what the test's handler does
    async with site.working():
        await until(lambda: begun == set(range(PARTITIONS)))
        may_end.set()


def fill(kafka: Kafka, topic: str) -> None:
    """Write events of one portal into each partition, whose number they have; each partition has megabytes of them."""
    client = Producer({"bootstrap.servers": kafka.bootstrap, "batch.size": BATCH, "log_level": 0})
    for partition in range(PARTITIONS):
        portal = f"p{partition}.example"
        value = encoded(partition, portal, random.Random(partition).randbytes(CHARACTERS // 2).hex())
        for _ in range(WAITING):
            client.produce(topic, value, portal, partition=partition)
    assert not client.flush(30)
