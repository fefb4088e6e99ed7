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

PARTITIONS = 4

#: As the ingest writes them at most.
BATCH = 60_000


#: The second are larger each than what is fetched of a partition at a time.
@pytest.mark.parametrize(("waiting", "characters", "held"), [(2500, 1000, 1500), (30, 900_000, 20)])
async def test_portals_of_every_partition_are_handled_at_once(
    kafka: Kafka, opened: Opener, waiting: int, characters: int, held: int
) -> None:
    site = Site(opened(kafka.bootstrap), f"events-{uuid4().hex[:12]}", PARTITIONS, max_held_records=held)
    await site.queue.ensure(names.streams(site.topic), PARTITIONS)
    fill(kafka, site.topic, waiting, characters)
    begun, may_end = set[int](), asyncio.Event()

    async def handle(number: int) -> None:
        begun.add(number)
        await may_end.wait()

    site.handle = handle  # type: ignore[method-assign]  # what the test's handler does
    async with site.working():
        await until(lambda: begun == set(range(PARTITIONS)))
        may_end.set()


def fill(kafka: Kafka, topic: str, waiting: int, characters: int) -> None:
    """Write so many events of one portal into each partition, whose number they have.

    It is not the partition of the portal's key, so that nothing of it can be parked to make room.
    """
    limits = {"batch.size": BATCH, "message.max.bytes": 2_000_000}
    client = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0, **limits})
    for partition in range(PARTITIONS):
        portal = f"p{partition}.example"
        value = encoded(partition, portal, random.Random(partition).randbytes(characters // 2).hex())
        for _ in range(waiting):
            client.produce(topic, value, portal, partition=partition)
    assert not client.flush(30)
