"""The contract of queues: committing."""

from forebay.queues.contract import (
    Commit,
    Inspector,
    Producer,
    Queue,
)
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.integration.queue_contract.parts import STREAM, Follower, by_key, fetch, member, needs, record, send_all


async def test_a_group_goes_on_behind_its_commit(queue: Queue, producer: Producer) -> None:
    positions = [await producer.send(STREAM, record("portal", number)) for number in range(10)]
    partition = positions[0].partition
    async with member(queue) as consumer:
        await fetch(consumer, 10)
        await consumer.commit({partition: Commit(offset=positions[6].offset, note=b"six")})

    follower = Follower()
    async with member(queue, follower) as consumer:
        found = await fetch(consumer, 4)

    assert by_key(found) == {"portal": [6, 7, 8, 9]}
    assert follower.committed[partition] == Commit(offset=positions[6].offset, note=b"six")


async def test_records_that_were_not_committed_come_again(queue: Queue, producer: Producer) -> None:
    await send_all(producer, [record("portal", number) for number in range(10)])
    async with member(queue) as consumer:
        await fetch(consumer, 10)

    async with member(queue) as consumer:
        found = await fetch(consumer, 10)

    assert by_key(found) == {"portal": list(range(10))}


async def test_offsets_may_have_gaps(queue: Queue, producer: Producer) -> None:
    last = (await send_all(producer, [record("portal", number) for number in range(3)]))[-1]
    async with member(queue) as consumer:
        await consumer.commit({last.partition: Commit(offset=last.offset + 1)})

    async with member(queue) as consumer:
        assert await consumer.fetch(10, 0.05) == []
        await producer.send(STREAM, record("portal", 3))
        found = await fetch(consumer, 1)

    assert by_key(found) == {"portal": [3]}


async def test_the_longest_note_comes_back_exactly(queue: Queue) -> None:
    note = (bytes(range(256)) * (queue.promises.note_bytes // 256 + 1))[: queue.promises.note_bytes]
    async with member(queue) as consumer:
        await consumer.commit({2: Commit(offset=0, note=note)})

    follower = Follower()
    async with member(queue, follower):
        pass

    assert follower.committed[2].note == note


async def test_a_commit_of_nothing_changes_nothing(queue: Queue, inspector: Inspector) -> None:
    async with member(queue) as consumer:
        await consumer.commit({})

    assert all(state.offset == 0 for state in (await inspector.groups(STREAM)).get("group", {}).values())


async def test_what_is_kept_is_there_after_opening_again(settings: QueueSettings, queue: Queue) -> None:
    needs(queue, "durable")
    producer = queue.producer()
    position = (await send_all(producer, [record("portal", number) for number in range(5)]))[2]
    async with member(queue) as consumer:
        await consumer.commit({position.partition: Commit(offset=position.offset, note=b"note")})
    await producer.close()
    await queue.close()

    again, follower = open_queue(settings), Follower()
    async with member(again, follower) as consumer:
        found = await fetch(consumer, 3)
    await again.close()

    assert by_key(found) == {"portal": [2, 3, 4]}
    assert follower.committed[position.partition] == Commit(offset=position.offset, note=b"note")
