"""The contract of queues: groups."""

import asyncio
from collections import defaultdict

import pytest

from forebay.queues.contract import (
    Commit,
    Consumer,
    Inspector,
    Producer,
    Queue,
    StoredRecord,
)
from forebay.queues.errors import Fenced
from forebay.schemas.portal import partition_of
from tests.integration.queue_contract.parts import (
    PARTITIONS,
    PATIENCE_S,
    SESSION_S,
    STREAM,
    Follower,
    by_key,
    fetch,
    key_of,
    member,
    needs,
    record,
    send_all,
)


async def test_two_groups_know_nothing_of_each_other(queue: Queue, producer: Producer) -> None:
    needs(queue, "groups")
    positions = await send_all(producer, [record("portal", number) for number in range(10)])

    async with member(queue, group="one") as one, member(queue, group="two") as two:
        first = await fetch(one, 10)
        await one.commit({positions[0].partition: Commit(offset=positions[-1].offset + 1)})
        second = await fetch(two, 10)

    assert by_key(first) == by_key(second) == {"portal": list(range(10))}
    async with member(queue, group="two") as two:
        assert len(await fetch(two, 10)) == 10


async def test_members_share_the_partitions_equally(queue: Queue, producer: Producer) -> None:
    needs(queue, "groups")
    first, second = Follower(), Follower()

    async with member(queue, first) as one, member(queue, second, owns=2) as two:
        await first.owns(2)
        await send_all(producer, [record(f"portal{number}", number) for number in range(200)])
        ours = sum(partition_of(f"portal{number}", PARTITIONS) in first.owned for number in range(200))
        mine, others = await asyncio.gather(fetch(one, ours), fetch(two, 200 - ours))

        assert first.owned.isdisjoint(second.owned)
        assert {record.partition for record in mine} == first.owned
        assert {record.partition for record in others} == second.owned
        assert sorted(int(record.value) for record in mine + others) == list(range(200))


async def test_a_member_too_many_waits_for_a_partition(queue: Queue) -> None:
    needs(queue, "groups")
    followers = [Follower() for _ in range(PARTITIONS + 1)]
    consumers = [queue.consumer(STREAM, "group", session_s=SESSION_S) for _ in followers]
    for consumer, follower in zip(consumers, followers, strict=True):
        await consumer.start(follower)

    while sorted(len(follower.owned) for follower in followers) != [0] + [1] * PARTITIONS:
        await asyncio.sleep(0.01)
    idle = next(follower for follower in followers if not follower.owned)
    busy = followers.index(next(follower for follower in followers if follower.owned))
    await consumers[busy].close()

    await idle.owns(1)
    for consumer in consumers:
        await consumer.close()


async def test_a_member_that_leaves_hands_its_partitions_over(queue: Queue, producer: Producer) -> None:
    needs(queue, "groups")
    stays, leaves = Follower(), Follower()
    async with member(queue, stays) as staying:
        async with member(queue, leaves, owns=2) as leaving:
            await stays.owns(2)
            partition = min(leaves.owned)
            positions = await send_all(producer, [record(key_of(partition), number) for number in range(10)])
            await fetch(leaving, 10)
            await leaving.commit({partition: Commit(offset=positions[4].offset, note=b"left")})

        await stays.owns(PARTITIONS)
        found = await fetch(staying, 6)

    assert by_key(found) == {key_of(partition): [4, 5, 6, 7, 8, 9]}
    assert stays.committed[partition] == Commit(offset=positions[4].offset, note=b"left")


async def test_a_partition_is_ours_until_revoked_returns(queue: Queue, producer: Producer) -> None:
    needs(queue, "groups")
    asked, may_go = asyncio.Event(), asyncio.Event()
    consumer = queue.consumer(STREAM, "group", session_s=SESSION_S)

    async def finish(partition: int) -> None:
        asked.set()
        await may_go.wait()
        await consumer.commit({partition: Commit(offset=0, note=b"finished")})

    await consumer.start(first := Follower(finish))
    await first.owns(PARTITIONS)
    joining = asyncio.create_task(_join(queue, second := Follower()))
    await asked.wait()

    before = set(second.owned)
    may_go.set()
    other = await joining
    await second.owns(2)

    assert before == set()
    assert all(second.committed[partition].note == b"finished" for partition in second.owned)
    await other.close()
    await consumer.close()


async def test_a_commit_that_was_called_before_revoked_returned_is_stored(queue: Queue, inspector: Inspector) -> None:
    needs(queue, "groups")
    consumer = queue.consumer(STREAM, "group", session_s=SESSION_S)
    commits: list[asyncio.Task[None]] = []

    async def hurry(partition: int) -> None:
        commits.append(asyncio.create_task(consumer.commit({partition: Commit(offset=0, note=b"hurried")})))
        await asyncio.sleep(0)

    await consumer.start(follower := Follower(hurry))
    await follower.owns(PARTITIONS)
    await consumer.close()
    await asyncio.gather(*commits)

    states = (await inspector.groups(STREAM))["group"].values()
    assert [state.note for state in states] == [b"hurried"] * PARTITIONS


async def test_who_leaves_while_partitions_move_finishes_what_it_has_and_holds_up_nobody(
    queue: Queue,
) -> None:
    needs(queue, "groups")
    second, leaving = Follower(), asyncio.Event()
    consumer = queue.consumer(STREAM, "group", session_s=SESSION_S)

    async def finish(partition: int) -> None:
        if leaving.is_set():
            await second.owns_at_least(2)
            await consumer.commit({partition: Commit(offset=0, note=b"finished")})

    await consumer.start(first := Follower(finish))
    await first.owns(PARTITIONS)
    joining = asyncio.create_task(_join(queue, second))
    await first.owns(2)
    finishing = set(first.owned)
    leaving.set()
    await consumer.close()

    await second.owns(PARTITIONS)
    assert finishing == {number for number, commit in second.committed.items() if commit.note == b"finished"}
    assert "lost" not in {what for what, _ in first.told}
    await (await joining).close()


async def _join(queue: Queue, follower: Follower) -> Consumer:
    consumer = queue.consumer(STREAM, "group", session_s=SESSION_S)
    await consumer.start(follower)
    return consumer


async def test_nothing_of_a_revoked_partition_is_given_out(queue: Queue, producer: Producer) -> None:
    needs(queue, "groups")
    first, second = Follower(), Follower()
    async with member(queue, first) as one, member(queue, second, owns=2):
        await first.owns(2)
        await send_all(producer, [record(key_of(partition), partition) for partition in range(PARTITIONS)])

        found = await fetch(one, 2)
        more = await one.fetch(10, 0.1)

        assert {record.partition for record in found} == first.owned
        assert more == []


async def test_a_commit_of_anothers_partition_is_fenced_and_the_others_are_stored(
    queue: Queue, inspector: Inspector
) -> None:
    needs(queue, "groups")
    first, second = Follower(), Follower()
    async with member(queue, first) as one, member(queue, second, owns=2):
        await first.owns(2)
        foreign = set(second.owned)

        with pytest.raises(Fenced) as fenced:
            await one.commit({partition: Commit(offset=0, note=b"first") for partition in range(PARTITIONS)})

    notes = {partition: state.note for partition, state in (await inspector.groups(STREAM))["group"].items()}
    assert fenced.value.partitions == foreign
    assert {partition for partition, note in notes.items() if note == b"first"} == set(range(PARTITIONS)) - foreign


class Chronicle:
    """Checks over all members of a group: first completions of a key in order, and no partition owned twice."""

    def __init__(self) -> None:
        self.first_seen: dict[str, list[int]] = defaultdict(list)
        self.owner: dict[int, str] = {}
        self.count = 0
        self.changed = asyncio.Event()

    def note(self, name: str, found: StoredRecord) -> None:
        assert self.owner[found.partition] == name, "a record of a partition that is another's"
        number, seen = int(found.value), self.first_seen[found.key]
        if number not in seen:
            assert number == len(seen), f"{found.key}: {number} came before {len(seen)}"
            seen.append(number)
            self.count += 1
            self.changed.set()


class Worker:
    """A member that notes what it gets and commits it, sometimes late."""

    def __init__(self, queue: Queue, chronicle: Chronicle, name: str) -> None:
        self.consumer = queue.consumer(STREAM, "group", session_s=SESSION_S)
        self.name, self.chronicle = name, chronicle
        self.pending: dict[int, Commit] = {}
        self.owned: set[int] = set()
        self.task: asyncio.Task[None] | None = None

    def assigned(self, partition: int, committed: Commit) -> None:
        assert partition not in self.chronicle.owner, "a partition has two owners"
        self.chronicle.owner[partition] = self.name
        self.owned.add(partition)

    async def revoked(self, partition: int) -> None:
        # What was fetched already and comes to us meanwhile is the next owner's.
        self.owned.discard(partition)
        if partition in self.pending:
            await self.consumer.commit({partition: self.pending.pop(partition)})
        del self.chronicle.owner[partition]

    def lost(self, partition: int) -> None:
        pytest.fail("nobody was silent for so long")

    def rewritten(self, partition: int, offset: int) -> None:
        """As in the contract."""

    def gap(self, partition: int, start: int, end: int) -> None:
        """As in the contract."""

    async def start(self) -> "Worker":
        await self.consumer.start(self)
        self.task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        turn = 0
        while found := await self._fetch():
            for one in found:
                self.chronicle.note(self.name, one)
                self.pending[one.partition] = Commit(offset=one.offset + 1)
            turn += 1
            if turn % 3 == 0:
                commits, self.pending = self.pending, {}
                await self.consumer.commit(commits)

    async def _fetch(self) -> list[StoredRecord]:
        return [one for one in await self.consumer.fetch(20, PATIENCE_S) if one.partition in self.owned]

    async def stop(self) -> None:
        await self.consumer.close()
        assert self.task is not None
        await self.task


async def test_members_come_and_go_and_nothing_is_lost_doubled_or_out_of_order(
    queue: Queue, producer: Producer
) -> None:
    needs(queue, "groups")
    keys, each, chronicle = [f"portal{number}" for number in range(20)], 100, Chronicle()

    async def produce() -> None:
        for number in range(each):
            await send_all(producer, [record(key, number) for key in keys])

    workers = [await Worker(queue, chronicle, "first").start()]
    producing = asyncio.create_task(produce())
    for number in range(3):
        workers.append(await Worker(queue, chronicle, f"joined{number}").start())
        await _until(chronicle, len(keys) * each * (number + 1) // 8)
        await workers.pop(0).stop()
    await producing
    await _until(chronicle, len(keys) * each)
    for worker in workers:
        await worker.stop()

    assert chronicle.first_seen == {key: list(range(each)) for key in keys}
    assert chronicle.owner == {}


async def _until(chronicle: Chronicle, count: int) -> None:
    while chronicle.count < count:
        chronicle.changed.clear()
        await chronicle.changed.wait()
