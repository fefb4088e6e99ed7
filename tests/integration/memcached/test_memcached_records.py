"""Records in Memcached that are not there: not yet, or not any more. Nothing of it is skipped in silence."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from structlog.testing import capture_logs

from forebay.queues.batches.producer import BatchProducer
from forebay.queues.contract import Commit, Position, Producer, Queue, Record
from forebay.queues.errors import Fenced, QueueUnavailable, RecordRefused, UnknownStream, Unsupported
from forebay.queues.memcached.address import address
from forebay.queues.memcached.connection import MemcachedStore
from forebay.queues.memcached.group import MemcachedGroup, _packed
from forebay.queues.memcached.producer import _MemcachedWriter
from forebay.queues.memcached.streams import Stream, find, short
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


class _Reached:
    """As much of a connection as finding a stream takes."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def get(self, keys: list[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = self._client.get_many(keys)
        return found


@pytest.fixture
def stream(client: Any, queue: Queue) -> Stream:
    return find(_Reached(client), STREAM)  # type: ignore[arg-type]


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
    queue, count = _opened(server.url()), 200
    await queue.ensure([STREAM], PARTITIONS)
    producer, consumer = queue.producer(), queue.consumer(STREAM, "group")
    for number in range(count):
        last = await producer.send(STREAM, Record(key="portal", value=b"%d " % number + b"x" * 90_000, timestamp_ms=0))
    await consumer.start(Told())

    seen: list[int] = []
    with capture_logs() as logs:
        while not seen or seen[-1] != count - 1:
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
    producer, consumer = queue.producer(), queue.consumer(STREAM, "group", session_s=1.0)
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
    consumer = queue.consumer(STREAM, "group", session_s=0.6)
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


async def test_that_nothing_is_kept_is_said_at_each_start(queue: Queue) -> None:
    with capture_logs() as logs:
        parts: list[Any] = [queue.producer(), queue.consumer(STREAM, "group")]

    assert [log["event"] for log in logs] == ["queue_volatile"] * 2
    assert not queue.promises.durable
    with pytest.raises(Unsupported, match="registry"):
        queue.portals("topic")
    for part in parts:
        await part.close()
