"""Queues that somebody has deleted: what can be made anew is, and of what can't it is told."""

import asyncio
from contextlib import closing, suppress

import pytest
from structlog.testing import capture_logs

from forebay.queues.contract import Commit, Consumer, Producer, Queue, Record
from forebay.queues.errors import QueueUnavailable, UnknownStream
from forebay.queues.opening import open_queue
from forebay.queues.rabbitmq import logs
from forebay.queues.settings import QueueSettings
from forebay.schemas.portal import partition_of
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, ends_when_made_anew, fetch, kept, record
from tests.integration.queues.stage import read_all
from tests.integration.rabbitmq.relay import relayed
from tests.rabbitmq.server import Server, direct


def _delete(url: str, *queues: str) -> None:
    with closing(direct(url)) as connection:
        for queue in queues:
            connection.channel().queue_delete(queue)


@pytest.mark.parametrize("what", ["intake", "stream"])
async def test_a_part_of_a_stream_that_was_deleted_is_told_and_made_anew(
    queue: Queue, producer: Producer, url: str, what: str
) -> None:
    sent = await producer.send(STREAM, record(0))
    log = logs.partition_log(STREAM, sent.partition)
    _delete(url, logs.intake(log) if what == "intake" else log)

    with pytest.raises(UnknownStream, match=r"was deleted.*topics ensure"):
        await asyncio.wait_for(producer.send(STREAM, record(1)), 30.0)
    assert len(await queue.missing([STREAM, "another"], PARTITIONS)) == 1
    assert len(await queue.ensure([STREAM, "another"], PARTITIONS)) == 1
    await producer.send(STREAM, record(1))

    # What the stream has lost comes once more from the intake, which keeps it for a minute.
    assert list(dict.fromkeys(one.value for one in await read_all(queue))) == [b"0", b"1"]
    assert await queue.missing([STREAM], PARTITIONS) == []


@pytest.mark.parametrize("is_seen", [True, False], ids=["seen", "unseen"])
async def test_streams_that_were_made_anew_with_more_partitions_are_written_by_those(
    url: str, rabbitmq: Server, is_seen: bool
) -> None:
    """Who was there before comes to send a portal's events where all others do, whether it saw them deleted or not."""
    async with relayed(url) as (relay, through):
        queue, anew = (open_queue(QueueSettings(queue_url=one)) for one in (through, url))
        await queue.ensure([STREAM], PARTITIONS)
        staying = queue.producer()
        await staying.send(STREAM, record(0))

        relay.is_open = is_seen
        if not is_seen:
            relay.cut()
        await asyncio.to_thread(rabbitmq.empty)
        if is_seen:
            with pytest.raises(UnknownStream, match="topics ensure"):
                await asyncio.wait_for(staying.send(STREAM, record(0)), 30.0)
        await anew.ensure([STREAM], 2 * PARTITIONS)
        relay.is_open = True

        joined = anew.producer()
        keys = [f"portal{number}" for number in range(4 * PARTITIONS)]
        expected = [(await joined.send(STREAM, _of(key))).partition for key in keys]
        moved = next(number for number, key in enumerate(keys) if partition_of(key, PARTITIONS) != expected[number])
        # Who was away goes by what he knew until he has heard.
        while (await kept(staying, _of(keys[moved]))).partition != expected[moved]:
            pass
        assert [(await kept(staying, _of(key))).partition for key in keys] == expected
        for part in (staying, joined, queue, anew):
            await part.close()


def _of(key: str) -> Record:
    return Record(key=key, value=b"", timestamp_ms=0)


async def test_who_reads_what_was_deleted_is_told_so(queue: Queue, producer: Producer, url: str) -> None:
    consumer, inspector, follower = queue.consumer(STREAM, "group"), queue.inspector(), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    sent = await producer.send(STREAM, record(0))
    assert await fetch(consumer, 1) == [b"0"]
    _delete(url, logs.partition_log(STREAM, sent.partition))

    with pytest.raises(UnknownStream, match="topics ensure"):
        while True:
            await consumer.fetch(10, 5.0)
    for call in (
        inspector.bounds(STREAM),
        inspector.read(STREAM, sent.partition, 0, 10),
        inspector.offset_at(STREAM, sent.partition, 0),
    ):
        with pytest.raises(UnknownStream, match="topics ensure"):
            await call
    await queue.ensure([STREAM], PARTITIONS)
    await producer.send(STREAM, record(1))

    assert await _once_found(consumer) == [b"1"]
    for part in (consumer, inspector):
        await part.close()


async def _once_found(consumer: Consumer) -> list[bytes]:
    """The next record: who had looked once more before the stream was made anew says so once more."""
    while True:
        with suppress(UnknownStream):
            return await fetch(consumer, 1)


async def test_a_group_whose_stream_was_deleted_is_told_and_does_not_begin_anew_in_silence(
    queue: Queue, url: str
) -> None:
    consumer, other, inspector, follower = (
        queue.consumer(STREAM, "group", session_s=2.0),
        queue.consumer(STREAM, "other"),
        queue.inspector(),
        Follower(),
    )
    await consumer.start(follower)
    await other.start(Follower())
    await follower.owns(PARTITIONS)
    _delete(url, logs.group_log(STREAM, "group"))

    with capture_logs() as told:
        with pytest.raises(QueueUnavailable, match="set group to a new name"):
            while True:
                await consumer.commit({0: Commit(offset=0)})
        await follower.owns(0)
    with pytest.raises(QueueUnavailable, match="set group to a new name"):
        await consumer.fetch(10, 5.0)
    late = queue.consumer(STREAM, "group")
    with pytest.raises(QueueUnavailable, match="set group to a new name"):
        await late.start(Follower())

    assert [one["event"] for one in told] == ["group_unreachable"]
    assert list(await inspector.groups(STREAM)) == ["other"]
    for part in (late, consumer, other, inspector):
        await part.close()


async def test_who_reads_a_stream_that_was_deleted_with_all_others_ends_when_there_is_another(
    queue: Queue, rabbitmq: Server
) -> None:
    consumer = queue.consumer(STREAM, "group", session_s=2.0)
    await consumer.start(follower := Follower())
    await follower.owns(PARTITIONS)

    await asyncio.to_thread(rabbitmq.empty)
    await follower.owns(0)
    with pytest.raises(QueueUnavailable):
        while True:
            await consumer.fetch(1, 0.05)
    await ends_when_made_anew(queue, consumer)
    late = queue.consumer(STREAM, "group", session_s=2.0)
    await late.start(again := Follower())
    await again.owns(PARTITIONS)

    for part in (consumer, late):
        await part.close()
