"""Brokers that lack what newer ones have."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from forebay.queues.contract import Commit
from forebay.queues.errors import QueueError
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from tests.kafka.cluster import Cluster, Node
from tests.kafka.members import PARTITIONS, fetch, joined, send
from tests.kafka.opener import Opener
from tests.kafka.ways_in import Setting, Way
from tests.missing import entered

from .doctoring import Doctor
from .doctoring import doctor as doctor
from .doctoring import topic as topic

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
        limit_time(cluster)
        yield cluster


def limit_time(cluster: Cluster) -> None:
    """Have the cluster refuse what is dated a minute ago, or ahead, where a topic doesn't say otherwise."""
    entry = ConfigEntry("log.message.timestamp.difference.max.ms", "60000", incremental_operation=AlterConfigOpType.SET)
    with AdminClient({"bootstrap.servers": cluster.bootstrap}) as admin:
        resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
        [done] = admin.incremental_alter_configs([resource]).values()
        done.result(30)


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


async def made(cluster: Cluster, topic: str) -> None:
    """Make the topic's streams."""
    queue = open_queue(QueueSettings(queue_url=f"kafka://{cluster.bootstrap}"))
    await queue.ensure(names.streams(topic), 2)
    await queue.close()


def test_doctor_finds_nothing_but_that_there_is_one_broker(older: Cluster, doctor: Doctor, topic: str) -> None:
    absent, _ = doctor(Way(bootstrap=older.bootstrap, kafka={})), asyncio.run(made(older, topic))

    report = doctor(Way(bootstrap=older.bootstrap, kafka={}))

    assert (absent.told("fail"), report.told("fail")) == ("", "")
    assert [line.split(":")[0] for line in absent.told("warn").splitlines()] == ["brokers", "queue"]
    assert [line.split(":")[0] for line in report.told("warn").splitlines()] == ["brokers"]
    assert "KIP-848 came with Kafka 4.0" in doctor(Way(bootstrap=older.bootstrap, kafka=INSISTING)).told("fail")
