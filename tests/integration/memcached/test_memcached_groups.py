"""Groups in Memcached, whose places may be evicted, and what they let be deleted."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from forebay.queues.contract import Commit, Producer, Queue
from forebay.queues.errors import Fenced
from forebay.queues.memcached.address import address
from forebay.queues.memcached.connection import MemcachedStore
from forebay.queues.memcached.group import MemcachedGroup, _packed
from forebay.queues.memcached.streams import Stream, short
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, hears_of_its_stream, send_all
from tests.integration.queues.stage import read_all


async def test_a_commit_under_an_epoch_of_before_is_not_stored(queue: Queue, client: Any, stream: Stream) -> None:
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(follower := Follower())
    await follower.owns(PARTITIONS)
    client.set(stream.key(short("group"), "place", 1), _packed(2, Commit(offset=0, note=b"another's")))

    with pytest.raises(Fenced) as fenced:
        await consumer.commit({1: Commit(offset=0, note=b"late"), 2: Commit(offset=0, note=b"ours")})
    await consumer.close()

    inspector = queue.inspector()
    states = (await inspector.groups(STREAM))["group"]
    await inspector.close()
    assert fenced.value.partitions == {1}
    assert (states[1].note, states[2].note) == (b"another's", b"ours")


async def test_a_place_that_was_evicted_is_told_and_its_partition_goes_on(
    queue: Queue, producer: Producer, client: Any, stream: Stream
) -> None:
    partition = await send_all(producer, 5)
    consumer = queue.consumer(STREAM, "group", session_s=6.0)
    await consumer.start(follower := Follower())
    await follower.owns(PARTITIONS)
    place = stream.key(short("group"), "place", partition)
    before = client.get(place)
    follower.told.clear()
    client.delete(place)

    with capture_logs() as logs:
        while follower.told != ["lost", "assigned"]:
            await asyncio.sleep(0.02)
        await consumer.commit({partition: Commit(offset=5)})
    await consumer.close()

    assert [log["partition"] for log in logs if log["event"] == "commit_gone"] == [partition]
    assert client.get(place)[:8] != before[:8]


async def test_only_what_every_group_has_finished_is_deleted(queue: Queue, producer: Producer) -> None:
    partition = await send_all(producer, 1200)
    consumers = [queue.consumer(STREAM, name) for name in ("slower", "faster")]
    for consumer in consumers:
        await consumer.start(follower := Follower())
        await follower.owns(PARTITIONS)
    await consumers[1].commit({partition: Commit(offset=1200)})
    await consumers[0].commit({partition: Commit(offset=1100)})
    inspector = queue.inspector()
    parts: list[Any] = [*consumers, inspector]

    while (start := (await inspector.bounds(STREAM))[partition].start) < 1100:
        await asyncio.sleep(0.02)
    left = await inspector.read(STREAM, partition, 0, 1000)

    assert start == 1100
    assert [int(one.value) for one in left] == list(range(1100, 1200))
    for part in parts:
        await part.close()


async def test_a_group_whose_place_is_gone_keeps_everything(
    queue: Queue, producer: Producer, client: Any, stream: Stream, url: str
) -> None:
    partition = await send_all(producer, 5)
    for name in ("one", "two"):
        consumer = queue.consumer(STREAM, name)
        await consumer.start(follower := Follower())
        await follower.owns(PARTITIONS)
        if name == "one":
            await consumer.commit({partition: Commit(offset=5)})
        await consumer.close()
    connection = MemcachedStore(address(url)).connect()
    group = MemcachedGroup(name="one", of=stream, me="me", session_s=1.0)

    client.delete(stream.key(short("two"), "place", partition))

    assert not group.sweep(connection, partition)
    assert len(await read_all(queue)) == 5
    connection.close()


async def test_who_reads_a_stream_that_somebody_has_taken_away_is_told_so_and_ends_when_there_is_another(
    queue: Queue, client: Any
) -> None:
    await hears_of_its_stream(queue, client.flush_all)
