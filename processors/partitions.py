"""The partitions that are ours: each with a lane for each portal whose records wait, and its watermark."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from forebay.queues.contract import Commit, StoredRecord

from .buckets import Buckets
from .dead_letters import Burial
from .notes import Note, Place, encode_note
from .offsets import Watermark
from .outlook import Outlook
from .parking.restored import Restored
from .reading import Bulk

if TYPE_CHECKING:
    from .parking.parking import Parking


class Lane:
    """The records of one portal that wait, and how it stands with the first of them. It exists while it has any."""

    __slots__ = (
        "attempts",
        "back_at",
        "bulk",
        "burial",
        "is_at_work",
        "milestone",
        "outlook",
        "partition",
        "portal",
        "records",
        "timer",
        "waited_s",
    )

    def __init__(self, partition: "Partition", portal: str) -> None:
        self.partition = partition
        self.portal = portal
        self.records: deque[StoredRecord] = deque()
        #: What was read of its last record, where there were several.
        self.bulk: Bulk | None = None
        #: Until it is put back, and when that is, by the loop's clock: not every loop's timer can say so.
        self.timer: asyncio.TimerHandle | None = None
        self.back_at = 0.0
        #: A slot handles its first record.
        self.is_at_work = False
        #: The offset of a record that is to be finished soon, lest the lane counts as crowded.
        self.milestone: int | None = None
        #: Of those whose handlers look further than at the first record.
        self.outlook: Outlook | None = None
        self.start_anew()

    @property
    def in_hand(self) -> Sequence[StoredRecord]:
        """What a handler has of it, or what is given up and waits for its dead letter to be kept."""
        if self.burial is not None:
            return self.burial.records
        if not (self.is_at_work and self.records):
            return ()
        return (self.outlook and self.outlook.in_hand) or (self.records[0],)

    @property
    def waits_s(self) -> float | None:
        """How long it still waits to be put back, if it does."""
        return None if self.timer is None else max(0.0, self.back_at - asyncio.get_running_loop().time())

    def keep_only(self, records: Sequence[StoredRecord]) -> None:
        """Let go of all the others: they wait elsewhere."""
        self.records = deque(records)
        self.milestone = None
        if records:
            return
        self.outlook = None
        self.start_anew()
        if self.timer is not None:
            # It stands in no line, so nobody else would clear it away.
            self.timer.cancel()
            del self.partition.lanes[self.portal]

    def fold(self) -> None:
        """Let go of what another of its records stands for, where its handlers fold."""
        if self.outlook is not None and self.outlook.folding is not None:
            self.records = self.outlook.folding.stay(self.records)

    def leave(self, records: Sequence[StoredRecord]) -> None:
        """These are finished: its first ones, unless something folds."""
        folding = self.outlook.folding if self.outlook is not None else None
        if folding is None:
            for _ in records:
                self.records.popleft()
            return
        leaving = {id(record) for record in records}
        while self.records and id(self.records[0]) in leaving:
            leaving.discard(id(self.records.popleft()))
        if leaving:
            self.records = deque(record for record in self.records if id(record) not in leaving)
        folding.forget(records)

    def start_anew(self) -> None:
        """Forget the tries of a record: the next one is first now."""
        self.attempts = 0
        self.waited_s = 0.0
        #: Set when the first record is given up, and only its dead letter is still to be written.
        self.burial: Burial | None = None


class Partition:
    """One assignment of a partition. A later one is another object, which nothing left over from this one can touch."""

    def __init__(self, number: int, committed: int, inherited: Note, began: float = 0.0) -> None:
        self.number = number
        self.lanes: dict[str, Lane] = {}
        self.watermark = Watermark(committed, inherited.runs)
        self.buckets = Buckets(began)
        #: Offset of a record of the topic that waits → those that are finished with it, and no longer kept.
        self._folded: dict[int, list[int]] = {}
        #: None where the queue can't park.
        self.parking: Parking | None = None
        #: New records are begun only while it is open.
        self.is_open = True
        #: Its running handlers were told to stop: what they say now is no failure.
        self.is_cancelled = False
        #: It is another's by now: nothing of it counts any more.
        self.is_gone = False
        self.has_news = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """How many records are not finished, parked or not."""
        if self.parking is None:
            return self.watermark.unfinished
        parked = self.parking.portals.values()
        # What is to be spilled counts on both sides.
        return self.watermark.unfinished + sum(one.records - len(one.to_spill) for one in parked)

    def holds(self, lane: Lane) -> bool:
        """Whether an operator lets the lane's portal wait, and nothing of it may be begun."""
        return self.parking is not None and bool(self.parking.portals) and self.parking.holds(lane)

    def finish(self, record: StoredRecord) -> bool:
        """Note that a record is finished. False when parking has seen to all the rest."""
        if self.parking is not None and self.parking.portals and self.parking.finish(record):
            return False
        self.finish_offset(record.offset)
        return True

    def finish_all(self, records: Sequence[StoredRecord]) -> Sequence[StoredRecord]:
        """Note that records are finished. Gives those of which parking has not seen to all the rest."""
        if self._folded or (self.parking is not None and self.parking.portals):
            return [record for record in records if self.finish(record)]
        self.watermark.finish_all(records)
        self.has_news = True
        return records

    def finish_offset(self, offset: int) -> None:
        """Note that the topic's record at the offset needs no handling any more: it is finished, or parked."""
        self.watermark.finish(offset)
        if self._folded:
            for one in self._folded.pop(offset, ()):
                self.watermark.finish(one)
        self.has_news = True

    def fold(self, record: StoredRecord, into: StoredRecord) -> bool:
        """Let a record be finished with another of its lane, and not be kept until then. False when it can't be."""
        if isinstance(record, Restored):
            return self.parking is not None and self.parking.fold(record, into)
        if isinstance(into, Restored):
            return False
        folded = self._folded.pop(record.offset, [])
        self._folded.setdefault(into.offset, []).extend((*folded, record.offset))
        if self.parking is not None and (portal := self.parking.portals.get(record.key)) is not None:
            # Loaded ones that are finished with it.
            portal.fold(record, into)
        return True

    def folded_into(self, record: StoredRecord) -> int:
        """How many records of the topic are finished with this one of the topic, and not kept."""
        return len(self._folded.get(record.offset, ()))

    def enter(self, task: asyncio.Task[None]) -> None:
        """The task begins to handle records of it."""
        self._tasks.add(task)
        self._idle.clear()

    def leave(self, task: asyncio.Task[None]) -> None:
        """The task does so no longer."""
        self._tasks.discard(task)
        if not self._tasks:
            self._idle.set()

    async def idle(self) -> None:
        """Return when no record of it is being handled."""
        await self._idle.wait()

    def close(self) -> None:
        """Begin nothing new."""
        self.is_open = False

    def cancel(self) -> None:
        """Tell its running handlers to stop. A thread doesn't hear it."""
        self.is_open, self.is_cancelled = False, True
        for task in self._tasks:
            task.cancel()

    def drop(self) -> Iterator[StoredRecord]:
        """Leave it to another; gives the topic's records that were still held."""
        self.is_open, self.is_gone = False, True
        for lane in self.lanes.values():
            if lane.timer is not None:
                lane.timer.cancel()
            yield from (record for record in lane.records if not isinstance(record, Restored))
        if self.parking is not None:
            yield from self.parking.drop()

    def commit(self, note_bytes: int) -> Commit:
        """What may be committed now."""
        offset = self.watermark.position
        place = self.parking.place() if self.parking is not None else Place()
        return Commit(offset=offset, note=encode_note(offset, self.watermark.finished_beyond(), note_bytes, place))
