"""A cluster of which a broker is away when the topics are to be made."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

from forebay.queues.findings import Needs
from forebay.queues.kafka.properties import everywhere, for_admin
from forebay.queues.settings import QueueSettings
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


async def test_a_dead_broker_is_not_tried_without_a_pause_by_who_asks_it_something(
    clusters: Callable[..., Cluster],
) -> None:
    cluster = await asyncio.to_thread(clusters, 3)
    victim, tries = cluster.nodes[0], Counter[str]()
    ours = for_admin(everywhere(QueueSettings(queue_url=cluster.url)))
    telling: dict[str, Any] = {"statistics.interval.ms": 100, "stats_cb": partial(_count, tries)}

    with AdminClient({**ours, **telling}) as admin:
        await asyncio.to_thread(cluster.wait_in_sync)
        admin.list_topics(timeout=10)
        await asyncio.to_thread(victim.stop, signal.SIGKILL)
        # It asks every broker that the cluster still counts, and gives the dead one so long.
        await asyncio.to_thread(admin.list_consumer_groups(request_timeout=2).result)
        admin.poll(1)

    dead = tries[f"{victim.host}:{victim.port}/{victim.number}"]
    # From 0.1 s to 1 s lie between two: it is some ten. Without a pause it was tens of thousands.
    assert 0 < dead < 1000


def _count(tries: Counter[str], told: str) -> None:
    tries |= {broker["name"]: broker["connects"] for broker in json.loads(told)["brokers"].values()}
