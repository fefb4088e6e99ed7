"""Where a partition begins and ends: what stands first, what is taken away, and what is gone."""

import asyncio
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from forebay.queues.contract import Bounds, Commit, Producer, Queue
from forebay.queues.errors import Fenced
from forebay.queues.opening import open_queue
from forebay.queues.rabbitmq import consumer, inbox, logs, places
from forebay.queues.rabbitmq.address import address
from forebay.queues.rabbitmq.connection import Connection
from forebay.queues.rabbitmq.finding import bounds
from forebay.queues.rabbitmq.writer import Writer
from forebay.queues.settings import QueueSettings
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, fetch, record
from tests.rabbitmq.server import direct


class Gaps(Follower):
    """Remembers where no record stands, and can wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: asyncio.Queue[tuple[int, int, int]] = asyncio.Queue()

    def gap(self, partition: int, start: int, end: int) -> None:
        self.found.put_nowait((partition, start, end))


async def test_a_mark_in_a_partition_waits_for_nobody(queue: Queue, producer: Producer, url: str) -> None:
    consumer, follower, maker = queue.consumer(STREAM, "group"), Gaps(), Writer(address(url), "test")
    await consumer.start(follower)
    sent = await producer.send(STREAM, record(0))

    await maker.mark(logs.intake(logs.partition_log(STREAM, sent.partition)), places.mark())

    assert await follower.found.get() == (sent.partition, 1, 2)
    for part in (consumer, maker):
        await part.close()


async def test_records_that_a_policy_took_before_they_were_handled_are_told(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"x-max-length-bytes": 20_000, "x-stream-max-segment-size-bytes": 2_000}
    monkeypatch.setattr(logs, "_KIND", {"x-queue-type": "stream", **limits})
    queue = open_queue(QueueSettings(queue_url=url))
    await queue.ensure([STREAM], 1)
    producer, follower = queue.producer(), Follower()
    first = queue.consumer(STREAM, "group")
    await first.start(follower)
    await follower.owns(1)
    committed = (await producer.send(STREAM, record(0))).offset + 1
    await first.commit({0: Commit(offset=committed)})
    await first.close()

    connection = await Connection(address(url), "test").open()
    while (start := (await bounds(connection, logs.partition_log(STREAM, 0))).start) <= committed:
        await asyncio.gather(*(producer.send(STREAM, record(number)) for number in range(50)))
    second = queue.consumer(STREAM, "group")
    with capture_logs() as told:
        await second.start(Follower())
        await fetch(second, 1)

    [gone] = told
    assert (gone["event"], gone["position"]) == ("records_expired", committed)
    # The node takes what is too much a while after it was written.
    assert start <= gone["start"] <= (await bounds(connection, logs.partition_log(STREAM, 0))).start
    for part in (producer, second, connection):
        await part.close()


async def test_a_partition_that_several_have_made_is_empty(queue: Queue, url: str) -> None:
    maker, inspector = Writer(address(url), "test"), queue.inspector()
    for number in range(PARTITIONS):
        await maker.make(logs.partition_log(STREAM, number), logs.arguments(), places.birth())

    empty = await inspector.bounds(STREAM)

    assert [one.start for one in empty.values()] == [one.end for one in empty.values()]
    producer = queue.producer()
    sent = await producer.send(STREAM, record(0))
    assert (await inspector.bounds(STREAM))[sent.partition].start == sent.offset
    for part in (producer, inspector, maker):
        await part.close()


async def test_where_a_partition_ends_is_known_however_short_it_is(queue: Queue, producer: Producer) -> None:
    inspector, ends, found = queue.inspector(), [], []

    for number in range(25):
        ends.append((await producer.send(STREAM, record(number))).offset + 1)
        found.append(max(one.end for one in (await inspector.bounds(STREAM)).values()))

    assert found == ends
    await inspector.close()


async def test_a_partition_in_which_something_else_stands_where_it_was_read_begins_anew_where_the_group_is(
    queue: Queue, producer: Producer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, follower = queue.consumer(STREAM, "group"), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    for number in range(9):
        last = await producer.send(STREAM, record(number))
    await fetch(consumer, 9)
    await consumer.commit({last.partition: Commit(offset=3)})
    await producer.close()
    is_away = asyncio.Event()

    async def late(connection: Connection, log: str) -> Bounds:
        await is_away.wait()
        return await bounds(connection, log)

    # The worker comes back to a node whose disk was put back when others have written more than what is gone.
    monkeypatch.setattr(inbox, "bounds", late)
    await _made_anew(url, last.partition)
    later = queue.producer()
    for number in range(100, 112):
        await later.send(STREAM, record(number))
    committing = asyncio.create_task(consumer.commit({last.partition: Commit(offset=9)}))
    with capture_logs() as told:
        is_away.set()
        found = await fetch(consumer, 9)

    assert found == [b"%d" % number for number in range(103, 112)]
    assert [one["event"] for one in told] == ["set_back"]
    with pytest.raises(Fenced):
        await committing
    assert follower.told[PARTITIONS:] == ["lost", "assigned"]
    for part in (consumer, later):
        await part.close()


async def _made_anew(url: str, partition: int) -> None:
    """What was written is gone from the stream, and from its intake."""
    name, maker = logs.partition_log(STREAM, partition), Writer(address(url), "test")
    with closing(direct(url)) as connection:
        connection.channel().queue_delete(name)
        connection.channel().queue_delete(logs.intake(name))
    await maker.make(name, logs.arguments(), places.birth())
    await maker.make(logs.intake(name), logs.intake_arguments())
    await maker.close()


async def test_a_partition_that_is_shorter_than_what_was_finished_begins_anew_at_its_end(
    queue: Queue, producer: Producer, url: str
) -> None:
    consumer, follower = queue.consumer(STREAM, "group"), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    for number in range(9):
        last = await producer.send(STREAM, record(number))
    await consumer.commit({last.partition: Commit(offset=last.offset + 1, note=b"old")})
    await consumer.close()

    # As nothing but a person's hand does: the group was further than the stream is, and its intake has nothing of it.
    await producer.close()
    await _made_anew(url, last.partition)
    again, found = queue.consumer(STREAM, "group"), Follower()
    with capture_logs() as told:
        await again.start(found)
        while found.told.count("lost") == 0:
            await again.fetch(1, 0.05)
    later = queue.producer()
    first = await later.send(STREAM, record(100))

    assert await fetch(again, 1) == [b"100"]
    assert [one["event"] for one in told] == ["stream_shorter"]
    # With the place of before, a worker would pass over what comes now.
    assert found.owned[last.partition] == Commit(offset=0)
    assert first.offset < last.offset
    await again.commit({last.partition: Commit(offset=first.offset + 1)})
    for part in (again, later):
        await part.close()


async def test_what_was_finished_before_a_partition_was_found_shorter_is_committed_no_more(
    queue: Queue, producer: Producer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined, follower = queue.consumer(STREAM, "group"), Follower()
    await joined.start(follower)
    await follower.owns(PARTITIONS)
    for number in range(9):
        last = await producer.send(STREAM, record(number))
    await fetch(joined, 9)
    await joined.commit({last.partition: Commit(offset=3)})
    await producer.close()
    is_asked, is_away = asyncio.Event(), asyncio.Event()

    async def late(connection: Connection, log: str) -> Bounds:
        is_asked.set()
        await is_away.wait()
        return await bounds(connection, log)

    monkeypatch.setattr(inbox, "bounds", late)
    monkeypatch.setattr(consumer, "_READ_AGAIN_S", 60.0)
    await _made_anew(url, last.partition)
    await is_asked.wait()
    committing = asyncio.create_task(joined.commit({last.partition: Commit(offset=last.offset + 1)}))
    await asyncio.sleep(0)
    is_away.set()

    with pytest.raises(Fenced):
        await committing
    assert follower.told[PARTITIONS:] == ["lost", "assigned"]
    assert follower.owned[last.partition] == Commit(offset=0)
    await joined.close()
    # Elsewhere the next worker would begin behind what has come since.
    next_one, found = queue.consumer(STREAM, "group"), Follower()
    await next_one.start(found)
    await found.owns(PARTITIONS)
    assert found.owned[last.partition] == Commit(offset=0)
    await next_one.close()
