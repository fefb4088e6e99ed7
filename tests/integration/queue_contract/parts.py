"""What the contract's tests share: members, records, and what stands in a stream."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import pytest

from forebay.queues.contract import (
    Commit,
    Consumer,
    Inspector,
    Position,
    Producer,
    Queue,
    Record,
    StoredRecord,
)
from forebay.queues.errors import QueueError
from forebay.schemas.portal import partition_of

STREAM = "events"
PARTITIONS = 4
#: Short, since members look at their group some times in it. No test needs a session to end, and none may, also where
#: the machine stands still for a moment.
SESSION_S = 4.0
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

    def rewritten(self, partition: int, offset: int) -> None:
        """As in the contract."""

    def gap(self, partition: int, start: int, end: int) -> None:
        """As in the contract."""

    def _tell(self, what: str, partition: int) -> None:
        self.told.append((what, partition))
        self._changed.set()

    async def owns(self, count: int) -> None:
        """Return when exactly so many partitions are owned."""
        await self._until(lambda: len(self.owned) == count)

    async def owns_at_least(self, count: int) -> None:
        """Return when so many partitions are owned, or more."""
        await self._until(lambda: len(self.owned) >= count)

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._changed.clear()
            await self._changed.wait()


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
