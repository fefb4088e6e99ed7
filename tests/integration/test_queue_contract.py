"""The contract of queues/contract.py as a suite: every promise, for every queue, as far as the queue declares it.

A new system joins with one line in `SYSTEMS`. Nothing here knows a system, and nothing may fail or pass by a clock:
a wait ends with what it waits for, or with the suite's own timeout.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from _pytest.mark import ParameterSet

from forebay.queues.contract import (
    Bounds,
    Commit,
    Consumer,
    Inspector,
    Position,
    Producer,
    Queue,
    Record,
    StoredRecord,
)
from forebay.queues.errors import Fenced, QueueError, UnknownStream, Unsupported
from forebay.queues.findings import Needs, Right
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.schemas.portal import partition_of
from tests.kafka.fixtures import Kafka

#: System → the settings of a fresh and empty queue of it.
SYSTEMS: dict[str, Callable[[Path, pytest.FixtureRequest], QueueSettings]] = {
    "memory": lambda folder, _: QueueSettings(data_dir=folder, queue_url=f"memory://{uuid4()}"),
    "sqlite": lambda folder, _: QueueSettings(data_dir=folder),
    "kafka": lambda folder, request: QueueSettings(data_dir=folder, queue_url=_empty_kafka(request)),
    "kafka-classic": lambda folder, request: QueueSettings(
        data_dir=folder, queue_url=_empty_kafka(request), kafka={"group.protocol": "classic"}
    ),
}


def _empty_kafka(request: pytest.FixtureRequest) -> str:
    kafka: Kafka = request.getfixturevalue("kafka")
    kafka.empty()
    return f"kafka://{kafka.bootstrap}"


STREAM = "events"
PARTITIONS = 4
#: Short, since the suite waits for it; no test needs a session to end.
SESSION_S = 2.0
#: How long one call of `fetch` waits where records are sure to come.
PATIENCE_S = 30.0


class Told:
    """A delivery that remembers what it was told, and can be waited for."""

    def __init__(self) -> None:
        self.outcomes: list[Position | QueueError] = []
        self.any = asyncio.Event()

    def done(self) -> bool:
        return False

    def set_result(self, position: Position, /) -> None:
        self._tell(position)

    def set_exception(self, error: QueueError, /) -> None:
        self._tell(error)

    def _tell(self, outcome: Position | QueueError) -> None:
        self.outcomes.append(outcome)
        self.any.set()


class Follower:
    """Assignments that remember what they were told, and can be waited for."""

    def __init__(self, on_revoked: Callable[[int], Awaitable[None]] | None = None) -> None:
        self.committed: dict[int, Commit] = {}
        self.owned: set[int] = set()
        self.told: list[tuple[str, int]] = []
        self._on_revoked = on_revoked
        self._changed = asyncio.Event()

    def assigned(self, partition: int, committed: Commit) -> None:
        assert partition not in self.owned, "assigned twice"
        self.committed[partition] = committed
        self.owned.add(partition)
        self._tell("assigned", partition)

    async def revoked(self, partition: int) -> None:
        assert partition in self.owned, "asked back without being assigned"
        if self._on_revoked is not None:
            await self._on_revoked(partition)
        self.owned.discard(partition)
        self._tell("revoked", partition)

    def lost(self, partition: int) -> None:
        self.owned.discard(partition)
        self._tell("lost", partition)

    def gap(self, partition: int, start: int, end: int) -> None:
        """As in the contract."""

    def _tell(self, what: str, partition: int) -> None:
        self.told.append((what, partition))
        self._changed.set()

    async def owns(self, count: int) -> None:
        """Return when exactly so many partitions are owned."""
        while len(self.owned) != count:
            self._changed.clear()
            await self._changed.wait()


def _marked(system: str) -> ParameterSet:
    return pytest.param(system, marks=pytest.mark.kafka if system.startswith("kafka") else ())


@pytest.fixture(params=map(_marked, SYSTEMS))
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> QueueSettings:
    return SYSTEMS[request.param](tmp_path, request)


@pytest.fixture
async def queue(settings: QueueSettings) -> AsyncIterator[Queue]:
    queue = open_queue(settings)
    await queue.ensure([STREAM], PARTITIONS)
    yield queue
    await queue.close()


@pytest.fixture
async def producer(queue: Queue) -> AsyncIterator[Producer]:
    producer = queue.producer()
    yield producer
    await producer.close()


@pytest.fixture
async def inspector(queue: Queue) -> AsyncIterator[Inspector]:
    inspector = queue.inspector()
    yield inspector
    await inspector.close()


@asynccontextmanager
async def member(
    queue: Queue, follower: Follower | None = None, *, group: str = "group", owns: int | None = PARTITIONS
) -> AsyncIterator[Consumer]:
    """A started consumer that owns so many partitions."""
    follower = follower or Follower()
    consumer = queue.consumer(STREAM, group, session_s=SESSION_S)
    await consumer.start(follower)
    try:
        if owns is not None:
            await follower.owns(owns)
        yield consumer
    finally:
        await consumer.close()


def needs(queue: Queue, promise: str) -> None:
    """Skip where the queue doesn't promise this."""
    if not getattr(queue.promises, promise):
        pytest.skip(f"this queue does not promise to be {promise}")


def record(key: str, number: int = 0) -> Record:
    return Record(key=key, value=str(number).encode(), timestamp_ms=1_700_000_000_000 + number)


def key_of(partition: int) -> str:
    """A key whose records stand in this partition."""
    return next(key for key in map(str, range(10_000)) if partition_of(key, PARTITIONS) == partition)


async def send_all(producer: Producer, records: Iterable[Record]) -> list[Position]:
    """Send at the same time, called in this order."""
    return await asyncio.gather(*(asyncio.create_task(producer.send(STREAM, one)) for one in records))


async def fetch(consumer: Consumer, count: int, at_most: int = 1000) -> list[StoredRecord]:
    """Exactly so many records, however many calls it takes."""
    found: list[StoredRecord] = []
    while len(found) < count:
        found += await consumer.fetch(min(at_most, count - len(found)), PATIENCE_S)
    return found


async def read_all(inspector: Inspector) -> list[StoredRecord]:
    """All that stands in the stream."""
    found: list[StoredRecord] = []
    for partition, bounds in (await inspector.bounds(STREAM)).items():
        offset = bounds.start
        while records := await inspector.read(STREAM, partition, offset, 100):
            found += records
            offset = records[-1].offset + 1
    return found


def by_key(records: Iterable[StoredRecord]) -> dict[str, list[int]]:
    """The numbers of each key's records, in the records' order."""
    found: dict[str, list[int]] = defaultdict(list)
    for one in records:
        found[one.key].append(int(one.value))
    return found


# Producing


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


async def test_two_producers_keep_the_order_of_their_keys(queue: Queue, inspector: Inspector) -> None:
    first, second = queue.producer(), queue.producer()

    await asyncio.gather(
        send_all(first, [record("portal1", number) for number in range(500)]),
        send_all(second, [record("portal2", number) for number in range(500)]),
    )
    await first.close()
    await second.close()

    assert by_key(await read_all(inspector)) == {"portal1": list(range(500)), "portal2": list(range(500))}


# Streams


async def test_what_is_missing_is_made_and_then_is_not_missing(settings: QueueSettings) -> None:
    queue = open_queue(settings)

    missing = await queue.missing(["a", "b"], PARTITIONS)
    made = await queue.ensure(["a", "b"], PARTITIONS)

    assert any("stream a" in sentence for sentence in missing)
    assert made == missing
    assert await queue.missing(["a", "b"], PARTITIONS) == []
    assert await queue.ensure(["a", "b"], PARTITIONS) == []
    await queue.close()


async def test_a_stream_is_made_beside_others(queue: Queue, producer: Producer, inspector: Inspector) -> None:
    await producer.send(STREAM, record("portal", 1))

    [made] = await queue.ensure([STREAM, "another"], PARTITIONS)

    assert "another" in made
    assert by_key(await read_all(inspector)) == {"portal": [1]}


async def test_many_may_make_the_same_streams_at_once(settings: QueueSettings) -> None:
    queues = [open_queue(settings) for _ in range(8)]

    await asyncio.gather(*(queue.ensure(["a", "b"], PARTITIONS) for queue in queues))

    assert await queues[0].missing(["a", "b"], PARTITIONS) == []
    for queue in queues:
        await queue.close()


async def test_another_number_of_partitions_is_refused(queue: Queue, inspector: Inspector) -> None:
    with pytest.raises(QueueError, match=r"events.*4 partitions"):
        await queue.ensure(["another", STREAM], PARTITIONS + 1)
    with pytest.raises(QueueError, match=r"events.*4 partitions"):
        await queue.missing([STREAM], PARTITIONS + 1)

    assert len(await inspector.bounds(STREAM)) == PARTITIONS
    with pytest.raises(UnknownStream):
        await inspector.bounds("another")


# Consuming


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

    async with member(queue) as consumer:
        while sum(one.key == other for one in found[-100:]) < 5:
            found += await consumer.fetch(1, PATIENCE_S)
            # Another partition's records may be on their way yet, and need the loop to come in.
            await asyncio.sleep(0)

    assert len(found) < 2005, "the full partition came first, to its end"


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


# Committing


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


# Groups


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
        if partition in self.pending:
            await self.consumer.commit({partition: self.pending.pop(partition)})
        self.owned.discard(partition)
        del self.chronicle.owner[partition]

    def lost(self, partition: int) -> None:
        pytest.fail("nobody was silent for so long")

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


# Inspecting


async def test_the_bounds_of_an_empty_stream_are_equal(inspector: Inspector) -> None:
    bounds = await inspector.bounds(STREAM)

    assert sorted(bounds) == list(range(PARTITIONS))
    assert all(one.start == one.end for one in bounds.values())


async def test_the_bounds_enclose_what_is_kept(producer: Producer, inspector: Inspector) -> None:
    positions = [await producer.send(STREAM, record("portal", number)) for number in range(9)]

    bounds = (await inspector.bounds(STREAM))[positions[0].partition]

    assert bounds == Bounds(start=positions[0].offset, end=positions[-1].offset + 1)


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


async def test_looking_makes_nobody_a_member(queue: Queue, producer: Producer, inspector: Inspector) -> None:
    await producer.send(STREAM, record("portal", 1))
    await read_all(inspector)
    await inspector.groups(STREAM)

    assert await inspector.groups(STREAM) == {}


async def test_an_unknown_stream_can_not_be_inspected(inspector: Inspector) -> None:
    with pytest.raises(UnknownStream, match="unheard-of"):
        await inspector.bounds("unheard-of")
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


async def test_partitions_become_more_or_the_queue_says_that_they_can_not(queue: Queue) -> None:
    try:
        plan = await queue.grow([STREAM], PARTITIONS + 1, only_plan=True)
    except Unsupported as error:
        assert "queue_url" in str(error)
        return

    assert await queue.missing([STREAM], PARTITIONS) == [], "a plan has changed something"
    assert await queue.grow([STREAM], PARTITIONS + 1, only_plan=False) == plan != []
    assert await queue.missing([STREAM], PARTITIONS + 1) == []
    assert await queue.grow([STREAM], PARTITIONS + 1, only_plan=False) == []
