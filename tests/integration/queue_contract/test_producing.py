"""The contract of queues: producing."""

import asyncio
import os
import resource
from collections.abc import Iterator

import pytest

from forebay.queues.contract import (
    Inspector,
    Position,
    Producer,
    Queue,
    Record,
)
from forebay.queues.errors import UnknownStream
from forebay.schemas.portal import partition_of
from tests.integration.queue_contract.parts import (
    PARTITIONS,
    PATIENCE_S,
    STREAM,
    Told,
    by_key,
    fetch,
    member,
    needs,
    read_all,
    record,
    send_all,
)

#: The descriptors that `select` can wait for end below it.
SELECTABLE = 1024


@pytest.fixture
def crowded() -> Iterator[None]:
    """Whatever is opened from now on gets a descriptor as in an ingest with a thousand calls."""
    limits, taken = resource.getrlimit(resource.RLIMIT_NOFILE), [os.dup(0)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2 * SELECTABLE), limits[1]))
    while taken[-1] < SELECTABLE:
        taken.append(os.dup(0))
    yield
    for descriptor in taken:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_records_of_a_key_stand_in_the_order_of_concurrent_calls(
    queue: Queue, producer: Producer, inspector: Inspector
) -> None:
    needs(queue, "ordered")

    await send_all(producer, [record(f"portal{number % 7}", number) for number in range(1400)])

    assert by_key(await read_all(inspector)) == {f"portal{key}": list(range(key, 1400, 7)) for key in range(7)}


async def test_send_returns_where_the_record_stands(producer: Producer, inspector: Inspector) -> None:
    positions = await send_all(producer, [record(f"portal{number}", number) for number in range(50)])

    found = {int(one.value): Position(partition=one.partition, offset=one.offset) for one in await read_all(inspector)}
    assert [found[number] for number in range(50)] == positions


async def test_what_became_of_a_record_is_told_once_to_who_does_not_wait(
    producer: Producer, inspector: Inspector
) -> None:
    deliveries = [Told() for _ in range(20)]
    for number, delivery in enumerate(deliveries):
        producer.submit(STREAM, record("portal", number), delivery)
    await asyncio.gather(*(delivery.any.wait() for delivery in deliveries))
    await producer.close()

    standing = [Position(partition=one.partition, offset=one.offset) for one in await read_all(inspector)]
    assert [delivery.outcomes for delivery in deliveries] == [[position] for position in standing]


async def test_offsets_grow_within_a_partition(producer: Producer) -> None:
    positions = [await producer.send(STREAM, record("portal", number)) for number in range(20)]

    offsets = [position.offset for position in positions]
    assert offsets == sorted(set(offsets))


async def test_a_records_partition_is_that_of_its_key(producer: Producer) -> None:
    keys = [f"portal{number}.bitrix24.ru" for number in range(40)]

    positions = await send_all(producer, [record(key) for key in keys])

    assert [position.partition for position in positions] == [partition_of(key, PARTITIONS) for key in keys]


@pytest.mark.parametrize(
    "sent",
    [
        Record(key="портал.рф", value=bytes(range(256)) * 5, timestamp_ms=4),
        Record(key="", value=b"", timestamp_ms=1),
        Record(key="a", value=b"\0", timestamp_ms=1_999_999_999_999, headers=(("ключ", b"\0\xff"), ("empty", b""))),
        Record(key="b" * 255, value=b"x" * 900_000, timestamp_ms=2, headers=(("twice", b"1"), ("twice", b"2"))),
        Record(key='quote"\\\t\u2028🙂', value=b"'\"\r\n", timestamp_ms=3, headers=(("h", b"x" * 10_000),)),
    ],
    ids=["binary", "empty", "headers", "large", "hostile"],
)
async def test_a_record_comes_back_exactly_as_it_was_sent(queue: Queue, producer: Producer, sent: Record) -> None:
    async with member(queue) as consumer:
        await producer.send(STREAM, sent)
        [found] = await fetch(consumer, 1)

    assert (found.key, found.value, found.timestamp_ms, tuple(found.headers)) == (
        sent.key,
        sent.value,
        sent.timestamp_ms,
        sent.headers,
    )


async def test_an_unknown_stream_is_told_and_its_neighbours_are_kept(producer: Producer, inspector: Inspector) -> None:
    before = asyncio.create_task(producer.send(STREAM, record("portal", 1)))
    unknown = asyncio.create_task(producer.send("unheard-of", record("portal", 2)))
    after = asyncio.create_task(producer.send(STREAM, record("portal", 3)))
    await asyncio.wait([before, unknown, after])

    assert isinstance(unknown.exception(), UnknownStream)
    assert by_key(await read_all(inspector)) == {"portal": [1, 3]}


async def test_cancelling_a_call_does_not_take_its_record_back(
    queue: Queue, producer: Producer, inspector: Inspector
) -> None:
    cancelled = [asyncio.create_task(producer.send(STREAM, record("portal", number))) for number in range(100)]
    await asyncio.sleep(0)
    for call in cancelled:
        call.cancel()
    await asyncio.wait(cancelled)

    await producer.send(STREAM, record("portal", 100))

    assert by_key(await read_all(inspector)) == {"portal": list(range(101))}


async def test_closing_a_producer_lets_running_calls_end(queue: Queue, inspector: Inspector) -> None:
    producer = queue.producer()
    running = [asyncio.create_task(producer.send(STREAM, record("portal", number))) for number in range(100)]
    await asyncio.sleep(0)

    await producer.close()
    await producer.close()

    await asyncio.gather(*running)
    assert by_key(await read_all(inspector)) == {"portal": list(range(100))}


async def test_a_queue_that_takes_records_passes_the_check(producer: Producer, inspector: Inspector) -> None:
    await producer.check()

    assert await read_all(inspector) == []


@pytest.mark.usefixtures("crowded")
async def test_a_thousand_open_files_keep_no_record_away(queue: Queue, inspector: Inspector) -> None:
    producer = queue.producer()

    for number in range(3):
        async with asyncio.timeout(PATIENCE_S):
            await producer.send(STREAM, record("portal", number))
    await producer.check()
    await producer.close()

    assert by_key(await read_all(inspector)) == {"portal": [0, 1, 2]}


async def test_two_producers_keep_the_order_of_their_keys(queue: Queue, inspector: Inspector) -> None:
    first, second = queue.producer(), queue.producer()

    await asyncio.gather(
        send_all(first, [record("portal1", number) for number in range(500)]),
        send_all(second, [record("portal2", number) for number in range(500)]),
    )
    await first.close()
    await second.close()

    assert by_key(await read_all(inspector)) == {"portal1": list(range(500)), "portal2": list(range(500))}
