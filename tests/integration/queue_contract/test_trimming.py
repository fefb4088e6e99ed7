"""The contract of queues that can be told what nobody needs."""

import time

import pytest

from forebay.queues.contract import Commit, Inspector, Position, Producer, Queue, Record, Trims
from forebay.queues.errors import UnknownStream
from tests.integration.queue_contract.parts import PARTITIONS, STREAM, by_key, key_of, member, record, send_all
from tests.integration.systems import of_every_system

#: More than is deleted at once.
MANY = 1_100

of_those = pytest.mark.parametrize(
    "settings", of_every_system("memory", "memcached", "rabbitmq", "kafka", "kafka-classic"), indirect=True
)


async def _sent(producer: Producer, count: int) -> list[Position]:
    return await send_all(producer, [record("portal", number) for number in range(count)])


@of_those
async def test_what_stands_before_an_offset_is_deleted_and_all_else_is_kept(
    queue: Queue, producer: Producer, inspector: Inspector
) -> None:
    assert isinstance(queue, Trims)
    positions = await _sent(producer, MANY)
    partition, middle = positions[0].partition, positions[-5].offset
    beside = await producer.send(STREAM, record(key_of((partition + 1) % PARTITIONS)))
    before = await inspector.bounds(STREAM)

    while await queue.trim(STREAM, {partition: middle}):
        pass
    assert not await queue.trim(STREAM, {partition: positions[3].offset})

    after = await inspector.bounds(STREAM)
    assert after[partition].start == middle
    assert after[partition].end == before[partition].end
    assert by_key(await inspector.read(STREAM, partition, 0, MANY))["portal"] == list(range(MANY - 5, MANY))
    assert after[beside.partition] == before[beside.partition]
    assert (await producer.send(STREAM, record("portal", MANY))).offset == positions[-1].offset + 1


@of_those
async def test_what_is_young_is_kept_and_so_is_all_behind_it(
    queue: Queue, producer: Producer, inspector: Inspector
) -> None:
    assert isinstance(queue, Trims)
    [old] = await _sent(producer, 1)
    young = await producer.send(STREAM, Record(key="portal", value=b"1", timestamp_ms=int(time.time() * 1000)))
    [behind] = await _sent(producer, 1)

    await queue.trim(STREAM, {old.partition: behind.offset + 1})

    assert (await inspector.bounds(STREAM))[old.partition].start == young.offset


@of_those
async def test_all_of_a_partition_may_go_and_what_comes_next_stands_behind_it(
    queue: Queue, producer: Producer, inspector: Inspector
) -> None:
    assert isinstance(queue, Trims)
    positions = await _sent(producer, 3)
    partition, end = positions[0].partition, positions[-1].offset + 1

    await queue.trim(STREAM, {partition: end + 100})

    bounds = (await inspector.bounds(STREAM))[partition]
    assert (bounds.start, bounds.end) == (end, end)
    assert (await producer.send(STREAM, record("portal", 3))).offset == end


@of_those
async def test_no_group_counts_and_none_is_set_back(queue: Queue, producer: Producer, inspector: Inspector) -> None:
    assert isinstance(queue, Trims)
    positions = await _sent(producer, 3)
    partition = positions[0].partition
    async with member(queue, group="shop") as consumer:
        await consumer.commit({partition: Commit(offset=positions[1].offset)})

    await queue.trim(STREAM, {partition: positions[2].offset})

    assert (await inspector.bounds(STREAM))[partition].start == positions[2].offset
    assert (await inspector.groups(STREAM))["shop"][partition].offset == positions[1].offset


@of_those
async def test_a_stream_that_is_not_there_is_told(queue: Queue) -> None:
    assert isinstance(queue, Trims)
    with pytest.raises(UnknownStream):
        await queue.trim("missing", {0: 1})
