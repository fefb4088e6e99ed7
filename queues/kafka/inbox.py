"""What was read and not yet fetched: filled by the member's thread, emptied on the event loop."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from forebay.queues.contract import StoredRecord
from forebay.queues.errors import QueueError

#: So much may wait before reading stops, and so little must be left before it goes on.
_HIGH_BYTES = 16_000_000
_LOW_BYTES = 8_000_000

#: What a record costs beside its value.
_RECORD_BYTES = 500

#: Records by partition, in the order of each.
Batches = Mapping[int, list[StoredRecord]]


class Inbox:
    """A line of batches for each partition. All but `announce` and `is_full` belong to the loop."""

    def __init__(self, on_room: Callable[[], None]) -> None:
        self._on_room = on_room
        self._lines: dict[int, deque[list[StoredRecord]]] = {}
        # Each is written by one thread only, so that neither needs a lock.
        self._announced_bytes = self._taken_bytes = 0
        self._news = asyncio.Event()
        self._complaint: QueueError | None = None
        self._is_final = self._was_full = False
        #: There is nothing to be taken any more.
        self.is_closed = False

    @property
    def is_full(self) -> bool:
        """Whether reading should stop; once full, it is so until it is half empty."""
        waiting = self._announced_bytes - self._taken_bytes
        self._was_full = waiting > (_LOW_BYTES if self._was_full else _HIGH_BYTES)
        return self._was_full

    @property
    def has_complaint(self) -> bool:
        """Whether `take` has something to raise."""
        return self._complaint is not None

    def announce(self, batches: Batches) -> None:
        """Count records that are on their way to `put`; called in the member's thread."""
        self._announced_bytes += sum(_bytes(batch) for batch in batches.values())

    def put(self, batches: Batches) -> None:
        """Add each partition's records at the end of its line."""
        for partition, batch in batches.items():
            self._lines.setdefault(partition, deque()).append(batch)
        self._news.set()

    def forget(self, partition: int) -> None:
        """Drop what waits of the partition."""
        for batch in self._lines.pop(partition, ()):
            self._count_taken(batch)

    def complain(self, error: QueueError, *, is_final: bool = False) -> None:
        """Let `take` raise the error: once, or from now on."""
        if not self._is_final:
            self._complaint, self._is_final = error, is_final
            self._news.set()

    def close(self) -> None:
        """End the waiting: from now on there is nothing."""
        self.is_closed = True
        self._news.set()

    async def take(self, max_records: int, timeout_s: float) -> list[StoredRecord]:
        """The next records; empty when none came within the time. Raises what was complained of."""
        if not self._lines and not self._complaint and not self.is_closed:
            await self._wait(timeout_s)
        if self.is_closed:
            return []
        # What is final is told at once: behind the records of a backlog nobody would hear of it for hours.
        found = [] if self._is_final else self._pop(max_records)
        if not found and self._complaint is not None:
            self._raise(self._complaint)
        return found

    async def _wait(self, timeout_s: float) -> None:
        self._news.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return

    def _pop(self, max_records: int) -> list[StoredRecord]:
        found: list[StoredRecord] = []
        while self._lines and (room := max_records - len(found)) > 0:
            partition = next(iter(self._lines))
            line = self._lines.pop(partition)
            batch = line.popleft()
            found += batch[:room]
            if len(batch) > room:
                line.appendleft(batch[room:])
            if line:
                # Behind the others now: whoever has room for little is given something of each.
                self._lines[partition] = line
        self._count_taken(found)
        return found

    def _count_taken(self, records: Sequence[StoredRecord]) -> None:
        self._taken_bytes += _bytes(records)
        if self._was_full:
            self._on_room()

    def _raise(self, complaint: QueueError) -> None:
        if not self._is_final:
            self._complaint = None
        raise complaint


def _bytes(records: Sequence[StoredRecord]) -> int:
    return sum([len(record.value) for record in records]) + _RECORD_BYTES * len(records)
