"""Nodes of a Redis Cluster, which is not supported, and refused by whoever would wait for it for ever."""

import asyncio
from collections.abc import Callable

import pytest

from forebay.queues.contract import Queue
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.redis.keys import Keys
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from tests.integration.queues.members import PARTITIONS, STREAM, Follower
from tests.ports import free_ports
from tests.redis.server import RedisServer, direct


def opened(url: str) -> Queue:
    return open_queue(QueueSettings(queue_url=url))


@pytest.fixture
async def cluster(redis_servers: Callable[..., RedisServer]) -> list[RedisServer]:
    """Two nodes of a Redis Cluster, of which each has half of the slots."""
    # By default their bus has the port 10,000 above, which may be one of those of outgoing connections.
    buses = free_ports(2)
    nodes = [redis_servers("cluster-enabled yes", f"cluster-port {bus}") for bus in buses]
    for number, (node, slots) in enumerate(zip(nodes, ((0, 8191), (8192, 16383)), strict=True)):
        with direct(node.url()) as admin:
            admin.execute_command("CLUSTER ADDSLOTSRANGE", *slots)
            admin.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            admin.execute_command("CLUSTER MEET", "127.0.0.1", nodes[0].port, buses[0])
    for node in nodes:
        with direct(node.url()) as admin:
            while admin.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                await asyncio.sleep(0.05)
    return nodes


async def test_a_node_of_a_cluster_that_has_a_stream_elsewhere_is_refused_at_once(cluster: list[RedisServer]) -> None:
    for node in cluster:
        queue = opened(node.url())
        with pytest.raises(QueueError, match=r"a node of a Redis Cluster.* name a single server") as refused:
            await queue.ensure(names.streams("bitrix24.events"), PARTITIONS)

        assert not isinstance(refused.value, QueueUnavailable)
        await queue.close()


async def test_a_worker_does_not_wait_for_a_stream_that_is_on_another_node(cluster: list[RedisServer]) -> None:
    with direct(cluster[0].url()) as admin:
        slot = admin.execute_command("CLUSTER KEYSLOT", Keys(STREAM).about)
    queue = opened(cluster[slot < 8192].url())
    consumer = queue.consumer(STREAM, "group")

    with pytest.raises(QueueError, match="a node of a Redis Cluster") as refused:
        await consumer.start(Follower())

    assert not isinstance(refused.value, QueueUnavailable)
    await consumer.close()
    await queue.close()
