"""Members of a group, for tests: joining, sending and fetching in a line each."""

import asyncio
from collections.abc import Iterable

from forebay.queues.contract import Consumer, Queue, Record, StoredRecord
from tests.integration.queues.members import Follower

PARTITIONS = 4

#: Short, since some tests wait for its end; a machine that stands still for a moment costs nobody a partition.
SESSION_S = 3.0

#: How long one call of `fetch` waits where records are sure to come.
PATIENCE_S = 30.0


class Owner(Follower):
    """A follower that can be waited for by what it was told."""

    async def is_told(self, what: str, count: int) -> None:
        """Return when it was told so often."""
        while self.told.count(what) < count:
            self._changed.clear()
            await self._changed.wait()


async def joined(
    queue: Queue, stream: str, owner: Owner | None = None, owns: int = PARTITIONS, session_s: float = SESSION_S
) -> Consumer:
    """A member that owns so many partitions."""
    owner = owner or Owner()
    consumer = queue.consumer(stream, stream, session_s=session_s)
    await consumer.start(owner)
    await owner.owns(owns)
    return consumer


async def send(queue: Queue, stream: str, numbers: Iterable[int], key: str = "portal", size: int = 0) -> int:
    """Send so many of one key; the partition in which they stand."""
    producer = queue.producer()
    records = [
        Record(key=key, value=b"%d" % number + bytes(size), timestamp_ms=1_700_000_000_000 + number)
        for number in numbers
    ]
    positions = await asyncio.gather(*(producer.send(stream, one) for one in records))
    await producer.close()
    return positions[0].partition


async def fetch(consumer: Consumer, count: int) -> list[int]:
    """The numbers of exactly so many records."""
    found: list[StoredRecord] = []
    while len(found) < count:
        found += await consumer.fetch(count - len(found), PATIENCE_S)
    return [int(one.value.rstrip(b"\0")) for one in found]
