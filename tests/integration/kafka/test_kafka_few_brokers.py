"""A cluster of which a broker is away when the topics are to be made."""

import asyncio
from collections.abc import Callable

import pytest
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

from forebay.queues.findings import Needs
from forebay.schemas import names
from tests.kafka.cluster import Cluster
from tests.kafka.opener import Opener

pytestmark = pytest.mark.kafka

STREAMS = names.streams("events")


def copies(cluster: Cluster) -> set[int]:
    with AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0}) as admin:
        found = admin.describe_topics(TopicCollection(list(STREAMS)))
        return {len(partition.replicas) for one in found.values() for partition in one.result(30).partitions}


async def test_a_topic_that_is_made_while_a_broker_is_away_has_a_copy_on_that_too(
    clusters: Callable[..., Cluster], opened: Opener
) -> None:
    cluster = await asyncio.to_thread(clusters, 3)
    queue = opened(cluster.bootstrap, topic="events")
    await asyncio.to_thread(cluster.nodes[2].stop)

    needs = Needs(streams=dict.fromkeys(STREAMS, frozenset(("read", "write"))), events="events", partitions=2)

    planned = await queue.missing(STREAMS, 2)
    told = [one.text() async for one in queue.diagnose(needs) if one.state != "ok"]
    made = await queue.ensure(STREAMS, 2)

    assert planned == made
    assert not any("can't keep 3 copies" in one or "1 copy" in one for one in told), told
    assert all("3 copies" in one for one in made)
    assert copies(cluster) == {3}
