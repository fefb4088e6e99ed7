"""A queue for each portal, and a fair order between those that are ready."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from forebay.queues.contract import StoredRecord

from .dead_letters import Burial

if TYPE_CHECKING:
    from .partitions import Partition

#: A lane gives way after so many records, so that a flood of one portal starves nobody…
TURN_RECORDS = 64
#: …or after so many seconds.
TURN_S = 0.02


class Lane:
    """The records of one portal that wait, and how it stands with the first of them. It exists while it has any."""

    __slots__ = ("attempts", "burial", "partition", "portal", "records", "timer", "waited_s")

    def __init__(self, partition: "Partition", portal: str) -> None:
        self.partition = partition
        self.portal = portal
        self.records: deque[StoredRecord] = deque()
        self.timer: asyncio.TimerHandle | None = None
        self.start_anew()

    def start_anew(self) -> None:
        """Forget the tries of a record: the next one is first now."""
        self.attempts = 0
        self.waited_s = 0.0
        #: Set when the first record is given up, and only its dead letter is still to be written.
        self.burial: Burial | None = None


class Turn:
    """What one lane may do before it gives way."""

    __slots__ = ("_clock", "_left", "_until")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._left, self._until = clock, TURN_RECORDS, clock() + TURN_S

    def goes_on(self) -> bool:
        """Count a record; False when the turn is over."""
        self._left -= 1
        return self._left > 0 and self._clock() < self._until


class Lanes:
    """The lanes of every partition in one line. A lane that runs or waits for a retry stands in no line."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[Lane] = asyncio.Queue()

    def add(self, partition: "Partition", record: StoredRecord) -> None:
        """Put the record behind those of its portal; a portal that had none gets to the end of the line."""
        lane = partition.lanes.get(record.key)
        if lane is None:
            lane = partition.lanes[record.key] = Lane(partition, record.key)
            self._ready.put_nowait(lane)
        lane.records.append(record)

    async def take(self) -> Lane:
        """The lane that has been ready for longest; waits for one."""
        return await self._ready.get()

    def put_back(self, lane: Lane) -> None:
        """After its turn: to the end of the line when it has more, else away, leaving no trace."""
        if lane.records:
            self._ready.put_nowait(lane)
        else:
            del lane.partition.lanes[lane.portal]

    def put_back_after(self, lane: Lane, delay_s: float) -> None:
        """To the end of the line, but only when the time is over."""
        lane.timer = asyncio.get_running_loop().call_later(delay_s, self._ready.put_nowait, lane)
