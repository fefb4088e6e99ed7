"""The contract of queues: inspecting."""

import pytest

from forebay.queues.contract import Bounds, Commit, Inspector, Producer, Queue
from forebay.queues.errors import UnknownStream
from forebay.queues.findings import Needs, Right
from tests.integration.queue_contract.parts import PARTITIONS, STREAM, by_key, member, needs, read_all, record


async def test_the_bounds_of_an_empty_stream_are_equal(inspector: Inspector) -> None:
    bounds = await inspector.bounds(STREAM)

    assert sorted(bounds) == list(range(PARTITIONS))
    assert all(one.start == one.end for one in bounds.values())


async def test_the_bounds_enclose_what_is_kept(producer: Producer, inspector: Inspector) -> None:
    positions = [await producer.send(STREAM, record("portal", number)) for number in range(9)]

    bounds = (await inspector.bounds(STREAM))[positions[0].partition]

    assert bounds == Bounds(start=positions[0].offset, end=positions[-1].offset + 1)


async def test_of_some_partitions_the_bounds_are_told_alone(producer: Producer, inspector: Inspector) -> None:
    await producer.send(STREAM, record("portal", 1))
    every = await inspector.bounds(STREAM)

    some = await inspector.bounds(STREAM, [1, 2])

    assert some == {number: every[number] for number in (1, 2)}
    assert await inspector.bounds(STREAM, []) == {}
    assert await inspector.partitions(STREAM) == PARTITIONS


async def test_reading_starts_at_the_offset_and_ends_at_the_limit(
    queue: Queue, producer: Producer, inspector: Inspector
) -> None:
    needs(queue, "replay")
    positions = [await producer.send(STREAM, record("portal", number)) for number in range(9)]
    partition = positions[0].partition

    middle = await inspector.read(STREAM, partition, positions[3].offset, 4)
    behind = await inspector.read(STREAM, partition, positions[-1].offset + 1, 4)

    assert by_key(middle) == {"portal": [3, 4, 5, 6]}
    assert [one.offset for one in middle] == [position.offset for position in positions[3:7]]
    assert behind == []


async def test_a_time_is_found_in_a_partition(queue: Queue, producer: Producer, inspector: Inspector) -> None:
    needs(queue, "replay")
    sent = [record("portal", number * 10) for number in range(9)]
    positions = [await producer.send(STREAM, one) for one in sent]
    partition = positions[0].partition

    before = await inspector.offset_at(STREAM, partition, 0)
    exact = await inspector.offset_at(STREAM, partition, sent[4].timestamp_ms)
    between = await inspector.offset_at(STREAM, partition, sent[4].timestamp_ms + 1)
    after = await inspector.offset_at(STREAM, partition, sent[-1].timestamp_ms + 1)

    assert [before, exact, between] == [positions[0].offset, positions[4].offset, positions[5].offset]
    assert after == positions[-1].offset + 1


async def test_groups_show_commits_and_owners(queue: Queue, inspector: Inspector) -> None:
    needs(queue, "groups")
    assert await inspector.groups(STREAM) == {}

    async with member(queue, group="one") as consumer:
        await consumer.commit({1: Commit(offset=0, note=b"note")})
        during = (await inspector.groups(STREAM))["one"]
    after = (await inspector.groups(STREAM))["one"]

    assert len({state.owner for state in during.values()}) == 1
    assert during[1].owner is not None
    assert (after[1].offset, after[1].note, after[1].owner) == (0, b"note", None)


async def test_groups_that_nobody_asked_for_are_not_shown(queue: Queue, inspector: Inspector) -> None:
    needs(queue, "groups")
    for group in ("one", "another"):
        async with member(queue, group=group) as consumer:
            await consumer.commit({1: Commit(offset=0)})

    assert (await inspector.groups(STREAM)).keys() == {"one", "another"}
    assert (await inspector.groups(STREAM, ["one", "unheard-of"])).keys() == {"one"}
    assert await inspector.groups(STREAM, []) == {}


async def test_looking_makes_nobody_a_member(queue: Queue, producer: Producer, inspector: Inspector) -> None:
    await producer.send(STREAM, record("portal", 1))
    await read_all(inspector)
    await inspector.groups(STREAM)

    assert await inspector.groups(STREAM) == {}


async def test_an_unknown_stream_can_not_be_inspected(inspector: Inspector) -> None:
    with pytest.raises(UnknownStream, match="unheard-of"):
        await inspector.bounds("unheard-of")
    with pytest.raises(UnknownStream, match="unheard-of"):
        await inspector.partitions("unheard-of")
    with pytest.raises(UnknownStream, match="unheard-of"):
        await inspector.read("unheard-of", 0, 0, 1)


async def test_parts_can_be_closed_twice_and_unused(queue: Queue) -> None:
    for part in (queue.producer(), queue.consumer(STREAM, "group"), queue.inspector(), queue):
        await part.close()
        await part.close()


async def test_a_diagnosis_says_whether_every_stream_is_there(queue: Queue) -> None:
    async def found(*streams: str) -> dict[str, str]:
        rights: frozenset[Right] = frozenset(("read", "write"))
        needs = Needs(streams=dict.fromkeys(streams, rights), events=STREAM, partitions=PARTITIONS, group="a-group")
        return {one.check: one.state async for one in queue.diagnose(needs) if one.check != "brokers"}

    assert (await found(STREAM))["queue"] == "ok"
    assert "fail" not in (await found(STREAM)).values()
    assert (await found(STREAM, "not-there"))["queue"] == "warn"
    assert await queue.missing(["not-there"], PARTITIONS) != [], "it has made something"
