"""The contract of queues: consuming."""

import asyncio

import pytest

from forebay.queues.contract import (
    Producer,
    Queue,
    StoredRecord,
)
from forebay.queues.errors import UnknownStream
from tests.integration.queue_contract.parts import (
    PATIENCE_S,
    STREAM,
    Follower,
    by_key,
    fetch,
    key_of,
    member,
    record,
    send_all,
)


async def test_a_group_reads_a_partition_from_its_first_record(queue: Queue, producer: Producer) -> None:
    await send_all(producer, [record(f"portal{number % 9}", number) for number in range(300)])

    async with member(queue) as consumer:
        found = await fetch(consumer, 300)

    assert by_key(found) == {f"portal{key}": list(range(key, 300, 9)) for key in range(9)}


async def test_each_record_is_given_once_an_assignment(queue: Queue, producer: Producer) -> None:
    async with member(queue) as consumer:
        await send_all(producer, [record(f"portal{number}", number) for number in range(100)])
        found = await fetch(consumer, 100, at_most=7)
        more = await consumer.fetch(100, 0.1)

    assert sorted(int(one.value) for one in found) == list(range(100))
    assert more == []


async def test_fetch_gives_no_more_than_asked_for(queue: Queue, producer: Producer) -> None:
    await send_all(producer, [record(f"portal{number}", number) for number in range(100)])

    async with member(queue) as consumer:
        found = await consumer.fetch(5, PATIENCE_S)

    assert 0 < len(found) <= 5


async def test_fetch_waits_for_a_record(queue: Queue, producer: Producer) -> None:
    async with member(queue) as consumer:
        waiting = asyncio.create_task(consumer.fetch(10, PATIENCE_S))
        assert not (await asyncio.wait([waiting], timeout=0.1))[0]

        await producer.send(STREAM, record("portal", 7))

        assert by_key(await waiting) == {"portal": [7]}


async def test_fetch_is_empty_when_nothing_came_in_time(queue: Queue) -> None:
    async with member(queue) as consumer:
        assert await consumer.fetch(10, 0.05) == []
        assert await consumer.fetch(10, 0) == []


async def test_a_cancelled_fetch_loses_no_record(queue: Queue, producer: Producer) -> None:
    found: list[StoredRecord] = []
    async with member(queue) as consumer:
        for number in range(30):
            call = asyncio.create_task(consumer.fetch(10, PATIENCE_S))
            await asyncio.sleep(0)
            sending = asyncio.create_task(producer.send(STREAM, record("portal", number)))
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call, sending])
            found += [] if call.cancelled() else call.result()
        found += await fetch(consumer, 30 - len(found))

    assert by_key(found) == {"portal": list(range(30))}


async def test_a_full_partition_starves_no_other(queue: Queue, producer: Producer) -> None:
    full, other = key_of(0), key_of(1)
    await send_all(producer, [record(full, number) for number in range(2000)])
    await send_all(producer, [record(other, number) for number in range(5)])
    found: list[StoredRecord] = []

    # Who takes the full partition to its end first comes to no end.
    async with asyncio.timeout(PATIENCE_S), member(queue) as consumer:
        while sum(one.key == other for one in found) < 5:
            found += await consumer.fetch(1, PATIENCE_S)
            await producer.send(STREAM, record(full, 2000 + len(found)))


async def test_an_unknown_stream_can_not_be_consumed(queue: Queue) -> None:
    consumer = queue.consumer("unheard-of", "group")

    with pytest.raises(UnknownStream, match="unheard-of"):
        await consumer.start(Follower())

    await consumer.close()


async def test_closing_a_consumer_ends_its_fetch(queue: Queue) -> None:
    async with member(queue) as consumer:
        waiting = asyncio.create_task(consumer.fetch(10, PATIENCE_S))
        await asyncio.sleep(0)

        await consumer.close()
        await consumer.close()

        assert await waiting == []
