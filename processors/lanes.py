"""A queue for each portal, and a fair order between those that are ready."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from forebay.queues.contract import StoredRecord
from forebay.schemas.alike import Alike

from .dead_letters import Burial

if TYPE_CHECKING:
    from .crashes.caution import Care
    from .outlook import Outlook
    from .partitions import Partition

#: A lane gives way after so many records, so that a flood of one portal starves nobody…
TURN_RECORDS = 64
#: …or after so many seconds.
TURN_S = 0.02


class Lane:
    """The records of one portal that wait, and how it stands with the first of them. It exists while it has any."""

    __slots__ = (
        "attempts",
        "back_at",
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

    def start_anew(self) -> None:
        """Forget the tries of a record: the next one is first now."""
        self.attempts = 0
        self.waited_s = 0.0
        #: Set when the first record is given up, and only its dead letter is still to be written.
        self.burial: Burial | None = None


class Turn:
    """What one lane may do before it gives way."""

    __slots__ = ("_clock", "_left", "_until", "alike", "cancelling", "care")

    def __init__(self, clock: Callable[[], float], cancelling: Callable[[], int], care: "Care | None" = None) -> None:
        #: How its one record is to be handled, after a worker was ended in the middle of its work.
        self.care = care
        #: Not 0 when a handler has cancelled its task, which is the slot's, and may not have met it yet.
        self.cancelling = cancelling
        self._clock, self._until = clock, clock() + TURN_S
        self._left = TURN_RECORDS if care is None else 1
        #: What was read of its last record, where there are several.
        self.alike: Alike | None = None

    def goes_on(self) -> bool:
        """Count a record; False when the turn is over."""
        self._left -= 1
        return self._left > 0 and self._clock() < self._until


class Lanes:
    """The lanes of every partition in one line. A lane that runs or waits for a retry stands in no line.

    Of those who take lanes no more are woken than are needed. While handlers never wait that is one, whatever comes:
    the others could only run when it is through. As soon as one waits for something, as many as there are lanes.
    """

    def __init__(self) -> None:
        self._ready: deque[Lane] = deque()
        self._asleep: deque[asyncio.Future[None]] = deque()
        #: So many are going to look at the line without being woken.
        self._coming = 0

    def add(self, partition: "Partition", records: Iterable[StoredRecord]) -> None:
        """Put each record behind those of its portal; a portal that had none gets to the end of the line."""
        lanes = partition.lanes
        for record in records:
            portal = record.key
            lane = lanes.get(portal)
            if lane is None:
                lane = lanes[portal] = Lane(partition, portal)
                self._ready.append(lane)
            elif lane.outlook is not None and lane.outlook.wanted:
                self._wait_less(lane)
            lane.records.append(record)
        self._wake_one()

    def first(self) -> Lane | None:
        """The lane that has been ready for longest, if there is one."""
        return self._ready.popleft() if self._ready else None

    async def take(self) -> Lane:
        """The same; waits for one."""
        while not self._ready:
            await self._sleep()
        return self._ready.popleft()

    def put_back(self, lane: Lane) -> None:
        """After its turn: to the end of the line when it has more, else away, leaving no trace."""
        if lane.records:
            self._put(lane)
        else:
            del lane.partition.lanes[lane.portal]

    def put_back_after(self, lane: Lane, delay_s: float) -> None:
        """To the end of the line, but only when the time is over."""
        loop = asyncio.get_running_loop()
        lane.back_at = loop.time() + delay_s
        lane.timer = loop.call_at(lane.back_at, self._put, lane)

    def expect_one(self) -> None:
        """Somebody comes for a lane by himself."""
        self._coming += 1

    def expect_one_less(self) -> None:
        """He doesn't, or not yet: he has to wait for something. What is ready must not wait with him."""
        self._coming -= 1
        if self._ready and not self._coming:
            for _ in range(min(len(self._ready), len(self._asleep))):
                self._wake()

    def _wait_less(self, lane: Lane) -> None:
        """One more record comes to a lane that waits for a batch: to the end of the line when that makes it full."""
        if lane.timer is not None and lane.outlook is not None and len(lane.records) + 1 >= lane.outlook.wanted:
            lane.outlook.wanted = 0
            lane.timer.cancel()
            self._put(lane)

    def _put(self, lane: Lane) -> None:
        lane.timer = None
        self._ready.append(lane)
        self._wake_one()

    def _wake_one(self) -> None:
        if self._ready and not self._coming and self._asleep:
            self._wake()

    def _wake(self) -> None:
        woken = self._asleep.popleft()
        # One that is cancelled wakes by itself.
        if not woken.done():
            woken.set_result(None)
        self._coming += 1

    async def _sleep(self) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._asleep.append(woken)
        try:
            await woken
        except asyncio.CancelledError:
            if woken in self._asleep:
                self._asleep.remove(woken)
            else:
                self.expect_one_less()
            raise
        self._coming -= 1
