"""Brokers that lack what newer ones have."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    AdminClient,
    NewTopic,
    ResourceType,
)

from forebay.queues.contract import Commit
from forebay.queues.errors import QueueError
from forebay.queues.kafka.layout import OF_BOTH_SIDES
from forebay.schemas import names
from tests.kafka.cluster import Cluster, Node
from tests.kafka.members import PARTITIONS, fetch, joined, send
from tests.kafka.opener import Opener
from tests.kafka.ways_in import Setting, Way
from tests.missing import entered

from .doctoring import Doctor, ensure
from .doctoring import doctor as doctor
from .doctoring import topic as topic
from .sent import altered

pytestmark = pytest.mark.kafka

#: The last one without KIP-848; the first one without ZooKeeper, which has one limit for both sides of a record's time.
VERSIONS = ("3.9.2", "3.3.2")

INSISTING: Setting = {"group.protocol": "consumer"}


@pytest.fixture(scope="module", params=VERSIONS)
def older(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Kafka of one older broker."""
    folder = tmp_path_factory.mktemp("older")
    with ExitStack() as running:
        cluster = entered(running, lambda: Cluster(folder, [Node(1, folder / "node-1", version=request.param)]))
        # It refuses what is dated a minute ago, or ahead, where a topic doesn't say otherwise.
        asyncio.run(altered(cluster, ResourceType.BROKER, "1", f"log.{OF_BOTH_SIDES}", 60_000))
        yield cluster


async def test_events_are_kept_read_and_committed(older: Cluster, opened: Opener, topic: str) -> None:
    queue = opened(older.bootstrap)
    assert len(await queue.ensure(names.streams(topic), PARTITIONS)) == len(names.streams(topic))
    # They are dated 2023.
    partition = await send(queue, topic, range(3))

    consumer = await joined(queue, topic)

    assert await fetch(consumer, 3) == [0, 1, 2]
    await consumer.commit({partition: Commit(offset=2)})
    await consumer.close()
    again = await joined(queue, topic)
    assert await fetch(again, 1) == [2]
    await again.close()


async def test_who_insists_on_what_they_can_t_do_is_told_and_waits_for_nothing(
    older: Cluster, opened: Opener, topic: str
) -> None:
    queue = opened(older.bootstrap, kafka=INSISTING)
    await queue.ensure([topic], PARTITIONS)

    with pytest.raises(QueueError, match=r"KIP-848 came with Kafka 4\.0; leave it out"):
        await joined(queue, topic)


def test_a_limit_of_the_cluster_is_told_where_a_topic_was_made_by_somebody_else(
    older: Cluster, doctor: Doctor, topic: str
) -> None:
    with AdminClient({"bootstrap.servers": older.bootstrap}) as admin:
        admin.create_topics([NewTopic(topic, 2)])[topic].result(30)

    told = doctor(Way(bootstrap=older.bootstrap, kafka={})).told("warn")

    assert f"topic {topic}: {OF_BOTH_SIDES} is 60000: what has waited longer, or is so far ahead, is refused" in told


def test_doctor_finds_nothing_but_that_there_is_one_broker(older: Cluster, doctor: Doctor, topic: str) -> None:
    absent, _ = doctor(Way(bootstrap=older.bootstrap, kafka={})), asyncio.run(ensure(older.bootstrap, topic))

    report = doctor(Way(bootstrap=older.bootstrap, kafka={}))

    assert (absent.told("fail"), report.told("fail")) == ("", "")
    assert [line.split(":")[0] for line in absent.told("warn").splitlines()] == ["brokers", "queue"]
    assert [line.split(":")[0] for line in report.told("warn").splitlines()] == ["brokers"]
    assert "KIP-848 came with Kafka 4.0" in doctor(Way(bootstrap=older.bootstrap, kafka=INSISTING)).told("fail")
