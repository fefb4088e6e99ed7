"""The members of a group and the records that tests of several queues share."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import pytest

from forebay.queues.contract import Commit, Consumer, Position, Producer, Queue, Record, StoredRecord
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.groups.retention import Retention
from forebay.schemas.portal import partition_of
from tests import clock

STREAM = "events"
PARTITIONS = 4
KEEP_EVERYTHING = Retention(stream=STREAM, keep_ms=10**12)


class Clock(clock.Clock):
    """In milliseconds, too, as a server has it."""

    def __init__(self) -> None:
        super().__init__(1_000.0)

    def ms(self, _: object = None) -> int:
        return int(self.now * 1000)


class Follower:
    """Assignments that remember what they were told, and can be waited for."""

    def __init__(self) -> None:
        self.owned: dict[int, Commit] = {}
        self.told: list[str] = []
        self._changed = asyncio.Event()

    def assigned(self, partition: int, committed: Commit) -> None:
        self.owned[partition] = committed
        self._tell("assigned")

    async def revoked(self, partition: int) -> None:
        del self.owned[partition]
        self._tell("revoked")

    def lost(self, partition: int) -> None:
        del self.owned[partition]
        self._tell("lost")

    def rewritten(self, partition: int, offset: int) -> None:
        """As in the contract."""

    def gap(self, partition: int, start: int, end: int) -> None:
        """As in the contract."""

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self._changed.set()

    async def owns(self, count: int) -> None:
        while len(self.owned) != count:
            self._changed.clear()
            await self._changed.wait()


def record(number: int, timestamp_ms: int = 0) -> Record:
    return Record(key="portal", value=str(number).encode(), timestamp_ms=timestamp_ms)


async def send_all(producer: Producer, count: int, timestamp_ms: int = 0) -> int:
    """Send so many of one portal, and return its partition."""
    positions = await asyncio.gather(*(producer.send(STREAM, record(n, timestamp_ms)) for n in range(count)))
    return positions[0].partition


async def fill(producer: Producer, sizes: Mapping[int, Sequence[int]]) -> None:
    """Send records of so many bytes to each of these partitions."""
    await asyncio.gather(
        *(
            producer.send(STREAM, Record(key=key_of(partition), value=bytes(size), timestamp_ms=0))
            for partition, each in sizes.items()
            for size in each
        )
    )


def key_of(partition: int) -> str:
    """A key whose records stand in this partition."""
    return next(key for key in map(str, range(10_000)) if partition_of(key, PARTITIONS) == partition)


def bytes_of(records: Sequence[StoredRecord]) -> dict[int, int]:
    """Partition → bytes of the records' values."""
    found: dict[int, int] = {}
    for one in records:
        found[one.partition] = found.get(one.partition, 0) + len(one.value)
    return found


async def fetch(consumer: Consumer, count: int) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < count:
        found += [one.value for one in await consumer.fetch(count - len(found), 30.0)]
    return found


async def start_of(queue: Queue, partition: int, until: Callable[[int], bool]) -> int:
    """The first offset of the partition, once it is so."""
    inspector = queue.inspector()
    try:
        while not until(start := (await inspector.bounds(STREAM))[partition].start):
            await asyncio.sleep(0.02)
        return start
    finally:
        await inspector.close()


async def hears_of_its_stream(queue: Queue, empty: Callable[[], object]) -> None:
    """Who reads a stream that somebody takes away is told so, and ends when there is another one of its name."""
    consumer = queue.consumer(STREAM, "group", session_s=1.0)
    await consumer.start(follower := Follower())
    await follower.owns(PARTITIONS)

    empty()
    await follower.owns(0)
    with pytest.raises(QueueUnavailable, match="topics ensure"):
        while True:
            await consumer.fetch(1, 0.05)
    await ends_when_made_anew(queue, consumer)

    await consumer.close()


async def keeps_nothing_when_let_go(
    queue: Queue, producer: Producer, consumer: Callable[[str], Consumer], let_go: Callable[[], object]
) -> None:
    """Group `audit`, which is let go as our pages say, keeps no event any more; run again, it begins with the oldest.

    Events of a group's `consumer` are old, for its retention, when they are five seconds old.
    """
    partition = await send_all(producer, 20, timestamp_ms=time.time_ns() // 1_000_000 - 5000)
    gone, stays = consumer("audit"), consumer("stays")
    for one in (gone, stays):
        await one.start(follower := Follower())
        await follower.owns(PARTITIONS)
    await gone.commit({partition: Commit(offset=5)})
    await gone.close()
    await stays.commit({partition: Commit(offset=20)})
    assert await start_of(queue, partition, lambda start: start >= 5) == 5

    let_go()

    assert await start_of(queue, partition, lambda start: start >= 20) == 20
    await stays.close()
    again = consumer("audit")
    await producer.send(STREAM, record(20))
    await again.start(Follower())
    assert await fetch(again, 1) == [b"20"]
    await again.close()


async def kept(producer: Producer, record: Record) -> Position:
    """Send it until it is kept."""
    while True:
        with suppress(QueueUnavailable):
            return await producer.send(STREAM, record)
        await asyncio.sleep(0.05)


async def ends_when_made_anew(queue: Queue, consumer: Consumer) -> None:
    """Whose stream was taken away is told to start again when there is another one of its name."""
    await queue.ensure([STREAM], PARTITIONS)
    with pytest.raises(QueueError, match=r"made anew.*restart"):
        while True:
            with suppress(QueueUnavailable):
                await consumer.fetch(1, 0.05)
