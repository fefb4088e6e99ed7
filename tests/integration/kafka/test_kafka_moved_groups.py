"""Groups that an administrator moves with Kafka's own tools, while portals of theirs are parked."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from forebay.processors.worker import Worker
from forebay.queues.errors import QueueError
from forebay.schemas import names
from tests.integration.kafka.power import Power
from tests.integration.kafka.working import Site, encoded
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import Kafka
from tests.kafka.opener import Opener
from tests.waiting import until

pytestmark = pytest.mark.kafka

PORTAL = "p.example"


class Failing(Site):
    """Where all events from a number on fail, as long as there is one."""

    fails_from: int | None = 3

    async def handle(self, number: int) -> None:
        if self.fails_from is not None and number >= self.fails_from:
            raise ConnectionError("the portal's API is down")
        self.handled.append(number)

    def write(self, bootstrap: str, *numbers: int) -> None:
        client = Producer({"bootstrap.servers": bootstrap, "log_level": 0, "acks": "all"})
        for number in numbers:
            client.produce(self.topic, encoded(number), PORTAL, partition=0)
        assert not client.flush(30)

    def move(self, bootstrap: str, offset: int) -> None:
        """As `kafka-consumer-groups --reset-offsets` does."""
        place = ConsumerGroupTopicPartitions(self.topic, [TopicPartition(self.topic, 0, offset)])
        with AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}) as client:
            for moved in client.alter_consumer_group_offsets([place]).values():
                moved.result(30)


def failing(opened: Opener, bootstrap: str, protocol: str) -> Failing:
    return Failing(opened(bootstrap, kafka={"group.protocol": protocol}), f"events-{uuid4().hex[:12]}")


async def park(site: Failing, bootstrap: str, last: int, first: int = 0) -> None:
    """Let a worker handle three, and park the others."""
    site.write(bootstrap, *range(first, last))
    async with site.working() as worker:
        await site.commits(last)
        await until(lambda: parked(worker))
    assert site.handled == [0, 1, 2]
    site.handled.clear()
    site.fails_from = None


def parked(worker: Worker) -> list[str]:
    return [portal for ours in worker.ownership if ours.parking is not None for portal in ours.parking.portals]


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
@pytest.mark.parametrize("to", [1, 4])
async def test_all_behind_the_place_comes_again_also_of_a_portal_that_waits(
    kafka: Kafka, opened: Opener, protocol: str, to: int
) -> None:
    site = failing(opened, kafka.bootstrap, protocol)
    await site.queue.ensure(names.streams(site.topic), 1)
    await park(site, kafka.bootstrap, 6)

    site.move(kafka.bootstrap, to)
    async with site.working() as worker:
        await until(lambda: len(site.handled) >= 3 + 6 - to)
        site.write(kafka.bootstrap, 6)
        await site.commits(7)
        await until(lambda: not parked(worker))

    assert site.handled == [3, 4, 5, *range(to, 7)]


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
async def test_what_stands_where_parked_events_were_lost_is_handled_once_the_group_is_moved_as_the_worker_says(
    clusters: Callable[..., Cluster], opened: Opener, protocol: str
) -> None:
    cluster = await asyncio.to_thread(clusters)
    site = failing(opened, cluster.bootstrap, protocol)
    await site.queue.ensure(names.streams(site.topic), 1)
    site.write(cluster.bootstrap, *range(4))
    await (power := Power(cluster, site.topic)).keep()
    await park(site, cluster.bootstrap, first=4, last=6)

    await power.lose()
    site.write(cluster.bootstrap, 10, 11, 12)
    async with asyncio.timeout(60):
        with pytest.raises(QueueError, match=r"lost the partition's end.*--reset-offsets"):
            await site.worker().run()
    site.move(cluster.bootstrap, 4)
    async with site.working() as worker:
        await site.commits(7)
        await until(lambda: not parked(worker))

    assert site.handled[-3:] == [10, 11, 12]
    assert {3, 4, 5} <= set(site.handled)
