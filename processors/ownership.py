"""Which partitions are ours, and what happens when one comes or goes."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from forebay.queues.contract import Commit
from forebay.schemas.logger import get_logger

from .commits import Commits
from .handovers import Handovers
from .held import Held
from .metrics import WorkerMetrics
from .notes import Note, Place, UnreadableNote, decode_note
from .parking.parking import Parking
from .partitions import Partition

_log = get_logger(__name__)

#: A handler that was cancelled gets so long for its `finally`.
_CANCEL_S = 1.0

#: The last commit of a partition may take so long; then it goes without, and some of its events come again.
_LAST_COMMIT_S = 5.0

#: Before each try of it. The sum is how much longer a worker takes to stop while its queue is gone.
_LAST_PAUSES_S = (0.0, 0.1, 0.4, 0.5)

#: So long the parked stream may take what is still to be told; then the last commit goes without it.
_SETTLE_S = 2.0

#: Makes the parking of a partition, where that can be.
MakeParking = Callable[[Partition, Place], Parking | None]


class Ownership:
    """The partitions of a worker, as the queue hands them out: the contract's `Assignments`."""

    def __init__(
        self,
        commits: Commits,
        held: Held,
        metrics: WorkerMetrics,
        *,
        grace_s: float,
        parking: MakeParking = lambda partition, place: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._commits, self._held, self._metrics, self._grace_s = commits, held, metrics, grace_s
        self._parking, self._clock, self._now = parking, clock, now
        self._handovers = Handovers(metrics)
        self._partitions: dict[int, Partition] = {}
        #: Of these only the last commit is still to come → how often it was tried.
        self._going: dict[Partition, int] = {}
        self._is_closed = False
        self._leaving = asyncio.Event()

    def __iter__(self) -> Iterator[Partition]:
        return iter(list(self._partitions.values()))

    def open_one(self, number: int) -> Partition | None:
        """The partition of that number, if it is ours and open."""
        partition = self._partitions.get(number)
        return partition if partition is not None and partition.is_open else None

    def assigned(self, partition: int, committed: Commit) -> None:
        """As in the contract."""
        self.lost(partition)
        if self._is_closed:
            # Nobody would wait for what is begun of it, before it is given back. Who has it next takes it as it is.
            return
        self._handovers.note("assigned", partition, committed.offset)
        self._metrics.assigned_at.labels(partition).set(self._now())
        if committed.is_reset:
            self._tell_reset(partition, committed.offset)
        note = _inherited(partition, committed)
        ours = self._partitions[partition] = Partition(partition, committed.offset, note, self._clock())
        ours.parking = self._parking(ours, note.place)
        if ours.parking is not None:
            ours.parking.open(lambda: self._confirm(ours))

    def _tell_reset(self, partition: int, offset: int) -> None:
        """New groups begin so; one that worked before has lost its place, and its events come again."""
        self._metrics.offset_reset.set(self._now())
        _log.warning(
            "the group has no place in the partition, and begins with its first", partition=partition, at=offset
        )

    async def revoked(self, partition: int) -> None:
        """As in the contract: running handlers get their grace, what is finished is committed, the rest is dropped.

        A handler that hears no cancellation, as none in a thread does, is waited for as long as the queue waits for us:
        its event would be begun elsewhere while it still runs. Who leaves has waited, and leaves it behind.
        """
        ours = self._partitions.get(partition)
        if ours is None:
            return
        ours.close()
        if not self._leaving.is_set():
            await self._ended(ours)
        await self._commit_last(ours)
        if not ours.is_gone:
            self._handovers.note("revoked", partition, ours.watermark.position)
            self._let_go(ours)

    def lost(self, partition: int) -> None:
        """As in the contract: its handlers are cancelled, and nothing of it counts any more."""
        ours = self._partitions.get(partition)
        if ours is not None:
            self._handovers.note("lost", partition, ours.watermark.position)
            ours.cancel()
            self._let_go(ours)

    def gap(self, partition: int, start: int, end: int) -> None:
        """As in the contract."""
        ours = self._partitions.get(partition)
        if ours is not None:
            ours.watermark.gap(start, end)
            ours.has_news = True

    def rewritten(self, partition: int, offset: int) -> None:
        """As in the contract."""
        ours = self._partitions.get(partition)
        if ours is not None:
            ours.watermark.forget(offset)
            if ours.parking is not None:
                ours.parking.come_again(offset)

    def close(self) -> list[Partition]:
        """Begin nothing new, neither of those that are ours, which it gives, nor of any that comes from now on."""
        self._is_closed = True
        ours = list(self)
        for one in ours:
            one.close()
        return ours

    def leave(self) -> None:
        """All had their grace, and the queue is about to be closed: from now on a partition is committed as it goes."""
        self._leaving.set()
        self._handovers.leave()

    def left(self) -> None:
        """The queue is closed, and nothing comes or goes any more."""
        self._handovers.tell()

    async def commit(self) -> None:
        """Commit what has news, and let go of what turned out to be another's."""
        if self._leaving.is_set():
            return
        for one in self:
            if one.parking is not None:
                one.parking.tell()
        await self._store(self)

    async def confirm(self) -> bool:
        """Commit all of them, news or not, and let go of what is another's. Whether the queue has taken it."""
        ours = list(self)
        for one in ours:
            one.has_news = True
        await self.commit()
        return not any(one.has_news for one in ours if not one.is_gone)

    async def _confirm(self, partition: Partition) -> bool:
        partition.has_news = True
        # Partitions come together: those that wait for a commit under way are all in the next one, and need no other.
        await self._store(one for one in self if partition.has_news)
        return not (partition.has_news or partition.is_gone)

    async def _store(self, partitions: Iterable[Partition]) -> None:
        for fenced in await self._commits.store(partitions):
            if not fenced.is_gone:
                self.lost(fenced.number)

    async def _ended(self, partition: Partition) -> None:
        """Return when its handlers have ended, or nobody waits for them any more: the queue is closed behind us."""
        ways = [asyncio.ensure_future(self._end(partition)), asyncio.ensure_future(self._leaving.wait())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()

    async def _end(self, partition: Partition) -> None:
        await end([partition], self._grace_s)
        await partition.idle()

    async def _commit_last(self, partition: Partition) -> None:
        if partition.parking is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SETTLE_S):
                    await partition.parking.settle()
            partition.has_news = True
        self._going[partition] = 0
        try:
            async with asyncio.timeout(_LAST_COMMIT_S):
                is_stored = await self._store_last(partition)
        except TimeoutError:
            is_stored = False
        finally:
            del self._going[partition]
        if not is_stored:
            _log.warning("partition given back without its last commit", partition=partition.number)

    async def _store_last(self, partition: Partition) -> bool:
        """Not tried once only: what was finished would come again, where no more than a connection was lost."""
        for tries, pause_s in enumerate(_LAST_PAUSES_S, 1):
            await asyncio.sleep(pause_s)
            await self._commits.store(self._going_with(partition, tries))
            if not partition.has_news or partition.is_gone:
                return True
        return False

    def _going_with(self, partition: Partition, tries: int) -> Iterator[Partition]:
        """All that go when it is its turn, unless it was tried so often by then, as it went along with others.

        With a commit each, those of many partitions would come too late.
        """
        if partition.has_news and self._going[partition] < tries:
            for one in self._going:
                self._going[one] += 1
                yield one

    def _let_go(self, partition: Partition) -> None:
        self._held.remove_all(list(partition.drop()))
        del self._partitions[partition.number]
        self._metrics.assigned_at.labels(partition.number).set(0)
        self._metrics.lag_records.labels(partition.number).set(0)
        self._metrics.lag_seconds.labels(partition.number).set(0)


async def end(partitions: list[Partition], grace_s: float) -> None:
    """Let what runs in closed partitions come to its end; what is still running after the grace is cancelled."""
    if not await _idle(partitions, grace_s):
        _log.warning("handlers cancelled after their grace", partitions=[one.number for one in partitions])
        for one in partitions:
            one.cancel()
        await _idle(partitions, _CANCEL_S)


async def _idle(partitions: list[Partition], within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            for one in partitions:
                await one.idle()
    except TimeoutError:
        return False
    return True


def _inherited(partition: int, committed: Commit) -> Note:
    try:
        return decode_note(committed.offset, committed.note)
    except UnreadableNote as error:
        _log.warning("note of the commit ignored; some events may come again", partition=partition, error=str(error))
        return Note()
