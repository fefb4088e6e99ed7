"""The contiguous watermark of a partition: up to where everything that was received is finished."""

from collections import deque
from collections.abc import Iterable

from forebay.queues.contract import StoredRecord

from .notes import Run


class Watermark:
    """Which offsets of one assignment are unfinished. Its memory is that of the unfinished ones.

    It counts received offsets, not consecutive ones: transactions and compaction leave gaps. Offsets arrive in growing
    order and finish in any. `inherited` are runs that an earlier owner finished beyond its commit.
    """

    def __init__(self, committed: int, inherited: list[Run]) -> None:
        self._next = committed
        self._unfinished: dict[int, int] = {}
        self._inherited = deque(inherited)
        self._gap = committed, committed

    def receive(self, offset: int, timestamp_ms: int) -> bool:
        """Note that the offset came; False when it needs no handling: it came before, or was finished before."""
        if offset < self._next:
            return False
        self._next = offset + 1
        if self._inherited and self._was_finished(offset):
            return False
        self._unfinished[offset] = timestamp_ms
        return True

    def receive_all(self, records: list[StoredRecord]) -> list[StoredRecord]:
        """Note that records came, as they stand in the log; gives those that need handling."""
        if self._inherited or records[0].offset < self._next:
            return [record for record in records if self.receive(record.offset, record.timestamp_ms)]
        self._unfinished.update({record.offset: record.timestamp_ms for record in records})
        self._next = records[-1].offset + 1
        return records

    def finish(self, offset: int) -> None:
        """Note that the offset is finished."""
        del self._unfinished[offset]

    def finish_all(self, records: Iterable[StoredRecord]) -> None:
        """Note that they are finished."""
        unfinished = self._unfinished
        for record in records:
            del unfinished[record.offset]

    def gap(self, start: int, end: int) -> None:
        """Note that no record stands in between. It counts once all before it came, and until one behind it does."""
        self._gap = start, end

    def forget(self, offset: int) -> None:
        """What stands from the offset on was finished by no earlier owner."""
        self._inherited = deque((first, min(end, offset)) for first, end in self._inherited if first < offset)

    @property
    def position(self) -> int:
        """Everything before this offset is finished: what may be committed."""
        start, end = self._gap
        return next(iter(self._unfinished), end if start == self._next else self._next)

    @property
    def received(self) -> int:
        """Everything before this offset came, or will not come."""
        return self._next

    @property
    def unfinished(self) -> int:
        """How many came and are not finished."""
        return len(self._unfinished)

    @property
    def oldest_ms(self) -> int | None:
        """The time of the first unfinished record, in milliseconds since the epoch."""
        return next(iter(self._unfinished.values()), None)

    def finished_beyond(self) -> list[Run]:
        """What is finished beyond the position, as runs in order. Gaps count as finished: nothing will come in them."""
        runs: list[Run] = []
        start = self.position
        for offset in [*self._unfinished, self._next]:
            if offset > start:
                runs.append((start, offset))
            start = offset + 1
        seen = max(self._next, self.position)
        to_come = [(max(first, self.position), end) for first, end in self._inherited if end > seen]
        return _joined(runs, to_come)

    def _was_finished(self, offset: int) -> bool:
        while self._inherited and self._inherited[0][1] <= offset:
            self._inherited.popleft()
        return bool(self._inherited) and self._inherited[0][0] <= offset


def _joined(finished: list[Run], inherited: list[Run]) -> list[Run]:
    """Both lists as one; only the last run of the first and the first of the second may touch."""
    if finished and inherited and inherited[0][0] <= finished[-1][1]:
        return [*finished[:-1], (finished[-1][0], inherited[0][1]), *inherited[1:]]
    return finished + inherited
