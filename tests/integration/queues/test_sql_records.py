"""What the SQL queue takes as a record or a note, and what it refuses."""

import asyncio
import os

import pytest
from sqlalchemy import Connection

from forebay.queues.contract import Commit, Position, Producer, Queue, Record
from forebay.queues.errors import QueueUnavailable, RecordRefused, UnknownStream, Unsupported
from forebay.queues.sql import reader
from forebay.queues.sql.schema import Stream, find
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, bytes_of, fetch, fill, record


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        (Record(key="portal", value=bytes(64 * 1024 * 1024 + 1), timestamp_ms=0), "bytes"),
        (Record(key="x" * 256, value=b"", timestamp_ms=0), "256 characters"),
        (Record(key="\ud800", value=b"", timestamp_ms=0), "no text"),
        (Record(key="portal", value=b"", timestamp_ms=2**63), "milliseconds"),
        (Record(key="portal", value=b"", timestamp_ms=0, headers=(("\ud800", b""),)), "no text"),
    ],
    ids=["value", "key", "surrogate", "time", "header"],
)
async def test_a_record_that_can_never_be_kept_is_refused_alone(producer: Producer, refused: Record, why: str) -> None:
    outcomes = await asyncio.gather(
        producer.send(STREAM, record(0)),
        producer.send(STREAM, refused),
        producer.send(STREAM, record(1)),
        return_exceptions=True,
    )

    assert isinstance(outcomes[1], RecordRefused)
    assert why in str(outcomes[1])
    assert not isinstance(outcomes[0], BaseException)
    assert not isinstance(outcomes[2], BaseException)


async def test_a_stream_that_is_not_there_is_told_alone_and_beside_others(producer: Producer) -> None:
    with pytest.raises(UnknownStream, match="forebay topics ensure"):
        await producer.send("unheard-of", record(0))

    outcomes = await asyncio.gather(
        producer.send("unheard-of", record(0)), producer.send(STREAM, record(1)), return_exceptions=True
    )

    assert isinstance(outcomes[0], UnknownStream)
    assert isinstance(outcomes[1], Position)


async def test_behind_a_record_that_found_no_stream_none_of_its_batch_finds_it_made_meanwhile(
    producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def found_late(connection: Connection, name: str) -> Stream:
        nonlocal looks
        looks += 1
        return find(connection, STREAM if looks > 1 else "unheard-of")

    monkeypatch.setattr("forebay.queues.sql.producer.find", found_late)
    sent = [producer.send("just-being-made", record(number)) for number in range(3)]
    outcomes = await asyncio.gather(*sent, return_exceptions=True)

    assert [type(one) for one in outcomes] == [UnknownStream] * 3
    assert isinstance(await producer.send("just-being-made", record(0)), Position)


async def test_large_records_are_read_a_few_at_a_time(queue: Queue, producer: Producer) -> None:
    value = os.urandom(3 * 1024 * 1024)
    for number in range(5):
        await producer.send(STREAM, Record(key="portal", value=value, timestamp_ms=number))
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(Follower())

    first = await consumer.fetch(100, 30.0)
    rest = await fetch(consumer, 5 - len(first))

    assert 1 <= len(first) < 5
    assert [one.value for one in first] + rest == [value] * 5
    await consumer.close()


async def test_a_send_after_closing_is_not_kept(queue: Queue) -> None:
    producer = queue.producer()
    await producer.close()

    with pytest.raises(QueueUnavailable, match="closed"):
        await producer.send(STREAM, record(1))


async def test_a_note_that_is_too_long_is_refused(queue: Queue) -> None:
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(Follower())

    with pytest.raises(Unsupported, match="65537 bytes"):
        await consumer.commit({0: Commit(offset=0, note=b"x" * 65_537)})

    await consumer.close()


async def test_the_bytes_of_a_fetch_are_limited_in_all_and_a_full_partition_starves_none(
    queue: Queue, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_READ_BYTES", 8000)
    await fill(producer, {0: [1000] * 20, 1: [1000] * 20, 2: [10], 3: [10]})
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(follower := Follower())
    await follower.owns(PARTITIONS)

    first, second = [bytes_of(await consumer.fetch(100, 30.0)) for _ in range(2)]
    await consumer.close()

    assert (first[2], first[3]) == (10, 10)
    assert sum(first.values()) <= 9000
    assert min(first[0], first[1]) >= 2000
    assert second == {0: 4000, 1: 4000}


async def test_a_record_that_is_larger_than_a_fetch_should_be_comes_all_the_same(
    queue: Queue, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [5, 1000, 5, 2000, 2000]
    monkeypatch.setattr(reader, "_READ_BYTES", 10)
    await fill(producer, {0: sizes})
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(follower := Follower())
    await follower.owns(PARTITIONS)

    found = list[int]()
    while len(found) < len(sizes):
        found += [len(one.value) for one in await consumer.fetch(100, 30.0)]
    await consumer.close()

    assert found == sizes
