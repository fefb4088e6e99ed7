"""A fair order between the portals whose records wait."""

import asyncio
from collections import deque
from collections.abc import Iterable

from forebay.queues.contract import StoredRecord

from .partitions import Lane, Partition


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

    @property
    def has_ready(self) -> bool:
        """Whether a lane waits for its turn."""
        return bool(self._ready)

    def add(self, partition: Partition, records: Iterable[StoredRecord]) -> None:
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
