"""Records in Memcached that are not there: not yet, or not any more. Nothing of it is skipped in silence."""

import asyncio
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import count
from typing import Any

import pytest
from pymemcache.exceptions import MemcacheServerError
from structlog.testing import capture_logs

from forebay.queues.batches.producer import BatchProducer
from forebay.queues.contract import Position, Producer, Queue, Record
from forebay.queues.errors import QueueError, QueueUnavailable, RecordRefused, UnknownStream, Unsupported
from forebay.queues.memcached.address import address
from forebay.queues.memcached.connection import MemcachedStore
from forebay.queues.memcached.producer import _MemcachedWriter
from forebay.queues.memcached.streams import Stream
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.integration.queue_faults.relay import relayed
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, fetch, record, send_all
from tests.integration.queues.stage import read_all
from tests.memcached.server import MemcachedServer, direct


class Told(Follower):
    """Remembers gaps too."""

    def __init__(self) -> None:
        super().__init__()
        self.gaps: list[tuple[int, int, int]] = []

    def gap(self, partition: int, start: int, end: int) -> None:
        self.gaps.append((partition, start, end))


def _opened(url: str) -> Queue:
    return open_queue(QueueSettings(queue_url=url))


@pytest.mark.usefixtures("impatient")
async def test_records_that_are_gone_are_told_and_the_next_ones_are_given(
    queue: Queue, producer: Producer, client: Any, stream: Stream
) -> None:
    partition = await send_all(producer, 10)
    client.delete_many([stream.record(partition, offset) for offset in (0, 4, 5)])
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(Told())

    with capture_logs() as logs:
        found = await fetch(consumer, 7)
    await consumer.close()

    assert found == [b"1", b"2", b"3", b"6", b"7", b"8", b"9"]
    assert sum(log["records"] for log in logs if log["event"] == "records_gone") == 3


@pytest.mark.usefixtures("impatient")
async def test_a_gap_that_ends_a_partition_is_told_to_who_reads_it(
    queue: Queue, producer: Producer, client: Any, stream: Stream
) -> None:
    partition = await send_all(producer, 5)
    client.delete_many([stream.record(partition, offset) for offset in (3, 4)])
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(told := Told())

    found = await fetch(consumer, 3)
    while not told.gaps:
        assert await consumer.fetch(10, 0.1) == []
    await consumer.close()

    assert found == [b"0", b"1", b"2"]
    assert told.gaps == [(partition, 3, 5)]


async def test_a_record_that_is_still_written_is_waited_for(
    queue: Queue, producer: Producer, client: Any, stream: Stream
) -> None:
    partition = await send_all(producer, 2)
    late = client.get(stream.record(partition, 0))
    client.delete(stream.record(partition, 0))
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(Told())

    meanwhile = await consumer.fetch(10, 0.3)
    client.set(stream.record(partition, 0), late)
    found = await fetch(consumer, 2)
    await consumer.close()

    assert meanwhile == []
    assert found == [b"0", b"1"]


async def test_what_a_full_server_has_evicted_is_counted(
    memcached_servers: Callable[..., MemcachedServer], impatient: None
) -> None:
    server = memcached_servers("-m", "8")
    queue, sent = _opened(server.url()), 200
    await queue.ensure([STREAM], PARTITIONS)
    producer, consumer = queue.producer(), queue.consumer(STREAM, "group")
    for number in range(sent):
        last = await producer.send(STREAM, Record(key="portal", value=b"%d " % number + b"x" * 90_000, timestamp_ms=0))
    await consumer.start(Told())

    seen: list[int] = []
    with capture_logs() as logs:
        while not seen or seen[-1] != sent - 1:
            seen += [int(one.value.split()[0]) for one in await consumer.fetch(50, 5.0)]
    with closing(direct(server.url())) as client:
        evicted = int(client.stats()[b"evictions"])
    for part in (consumer, producer, queue):
        await part.close()

    assert evicted > 0
    assert seen == sorted(set(seen))
    assert sum(log["records"] for log in logs if log["event"] == "records_gone") == last.offset + 1 - len(seen)


async def test_a_batch_whose_answer_is_lost_is_written_again_and_keeps_its_order(url: str, queue: Queue) -> None:
    async with relayed(url, "", b"set ") as (relay, through):
        producer = _opened(through).producer()
        outcomes = [await producer.send(STREAM, record(0))]
        relay.lose_answer = True
        outcomes += await asyncio.gather(*(producer.send(STREAM, record(n)) for n in range(1, 5)))
        outcomes.append(await producer.send(STREAM, record(5)))
        await producer.close()

    found = {one.offset: one.value for one in await read_all(queue)}
    assert [found[position.offset] for position in outcomes] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert list(dict.fromkeys(found.values())) == [b"0", b"1", b"2", b"3", b"4", b"5"]


async def test_a_batch_that_was_written_late_counts_when_it_was_written_again(url: str, queue: Queue) -> None:
    store, moments = MemcachedStore(address(url)), iter([0.0, 10.0, 10.0, 10.1])
    thread = store.thread("late")
    producer = BatchProducer(_MemcachedWriter(store, thread, clock=lambda: next(moments)), thread)

    position = await producer.send(STREAM, record(0))
    await producer.close()

    assert position.offset == 1
    assert [one.value for one in await read_all(queue)] == [b"0", b"0"]


async def test_the_end_of_the_server_is_told_to_everybody(memcached_servers: Callable[..., MemcachedServer]) -> None:
    server = memcached_servers()
    queue, told = _opened(server.url()), Told()
    await queue.ensure([STREAM], PARTITIONS)
    producer, consumer = queue.producer(), queue.consumer(STREAM, "group", session_s=5.0)
    await consumer.start(told)
    await told.owns(PARTITIONS)
    await send_all(producer, 5)

    with capture_logs() as logs:
        server.kill()
        server.start()
        await asyncio.to_thread(server.wait_ready)
        await told.owns(0)
        with pytest.raises(UnknownStream, match="is gone"):
            await producer.send(STREAM, record(5))
        with pytest.raises(UnknownStream, match="is gone"):
            await queue.inspector().bounds(STREAM)

    assert told.told[PARTITIONS:] == ["lost"] * PARTITIONS
    assert any("is gone" in log.get("error", "") for log in logs if log["event"] == "group_unreachable")
    assert await queue.missing([STREAM], PARTITIONS) != []
    for part in (consumer, producer, queue):
        await part.close()


async def test_a_stream_whose_counter_was_evicted_is_told_as_gone(
    queue: Queue, producer: Producer, client: Any, stream: Stream
) -> None:
    partition = await send_all(producer, 1)
    client.delete(stream.end(partition))

    with capture_logs() as logs, pytest.raises(UnknownStream, match="evicted"):
        await producer.send(STREAM, record(1))

    assert [log["event"] for log in logs] == ["stream_lost"]
    with pytest.raises(UnknownStream):
        await producer.send(STREAM, record(2))


async def test_a_stream_whose_counter_was_evicted_is_told_as_gone_where_nobody_writes(
    queue: Queue, client: Any, stream: Stream
) -> None:
    consumer, inspector, follower = queue.consumer(STREAM, "group", session_s=1.0), queue.inspector(), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    client.delete(stream.end(1))
    with pytest.raises(UnknownStream, match="evicted the counter of partition 1"):
        await inspector.bounds(STREAM)

    with capture_logs() as logs:
        while follower.owned:
            with suppress(QueueUnavailable):
                await consumer.fetch(1, 0.1)

    assert [log["evicted"] for log in logs if log["event"] == "stream_lost"] == ["the counter of partition 1"]
    # What is made then is another one, and this worker's supervisor starts it anew.
    await queue.ensure([STREAM], PARTITIONS)
    with pytest.raises(QueueError, match="made anew"):
        while True:
            with suppress(QueueUnavailable):
                await consumer.fetch(1, 0.1)
    for part in (consumer, inspector):
        await part.close()


async def test_a_record_that_no_item_can_hold_is_refused_and_its_neighbours_are_kept(producer: Producer) -> None:
    large = Record(key="portal", value=b"x" * 1_048_000, timestamp_ms=0)

    outcomes = await asyncio.gather(
        *(producer.send(STREAM, one) for one in (record(0), large, record(1))), return_exceptions=True
    )

    assert [type(one) for one in outcomes] == [Position, RecordRefused, Position]
    assert "-I" in str(outcomes[1])


async def test_a_full_server_that_may_not_evict_refuses_and_keeps_nothing_by_halves(
    memcached_servers: Callable[..., MemcachedServer],
) -> None:
    queue = _opened(memcached_servers("-m", "8", "-M").url())
    await queue.ensure([STREAM], PARTITIONS)
    producer = queue.producer()
    kept: list[Position] = []
    refused: list[BaseException] = []

    while not refused:
        large = [Record(key="portal", value=b"x" * 90_000, timestamp_ms=0) for _ in range(9)]
        told = await asyncio.gather(*(producer.send(STREAM, one) for one in large), return_exceptions=True)
        kept += [one for one in told if isinstance(one, Position)]
        refused = [one for one in told if isinstance(one, BaseException)]

    assert len(refused) == 9
    assert all(isinstance(one, QueueUnavailable) and "memory is full" in str(one) for one in refused)
    assert [one.offset for one in await read_all(queue)] == [position.offset for position in kept]
    for part in (producer, queue):
        await part.close()


def test_a_refusal_is_told_when_nothing_of_what_was_sent_can_come_any_more(
    memcached_servers: Callable[..., MemcachedServer],
) -> None:
    server = memcached_servers("-m", "8", "-M")
    connection = MemcachedStore(address(server.url())).connect()
    connection.put({"small": b""})
    with pytest.raises(MemcacheServerError):
        for number in count():
            connection.put({f"large:{number}": bytes(90_000)})
    small = {f"small:{number}": b"" for number in range(1000)}

    with pytest.raises(MemcacheServerError, match="out of memory"):
        connection.put({"large": bytes(90_000), **small})

    # On a new connection it could come before they do.
    assert connection.lives()
    assert len(connection.get(small)) == len(small)
    connection.close()


async def test_that_nothing_is_kept_is_said_at_each_start(queue: Queue) -> None:
    with capture_logs() as logs:
        parts: list[Any] = [queue.producer(), queue.consumer(STREAM, "group")]

    assert [log["event"] for log in logs] == ["queue_volatile"] * 2
    assert not queue.promises.durable
    with pytest.raises(Unsupported, match="registry"):
        queue.portals("topic")
    for part in parts:
        await part.close()
