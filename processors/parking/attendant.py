"""Looks after the parking of all partitions of a worker: follows orders, relieves crowded lanes, counts who waits."""

import asyncio
from collections.abc import Callable, Iterable

from forebay.processors.health import Health
from forebay.processors.held import Held
from forebay.processors.lanes import Lanes
from forebay.processors.metrics import WorkerMetrics
from forebay.processors.notes import Place
from forebay.processors.partitions import Lane, Partition
from forebay.processors.settings import WorkerSettings
from forebay.queues.contract import Producer, Queue, Trims

from .following import Following, Parked
from .parking import Parking
from .restored import Restored
from .state import Reason, Trouble
from .stream import ParkedStream
from .trimming import Trimming

#: The least that a commit's note must hold, to say where reading who is parked begins.
_NOTE_BYTES = 64

#: While memory is full, lanes with so much smaller a part of it are relieved too.
_WHEN_FULL = 10

#: Who must wait for its budget for longer does so in the parked stream, and holds back no commit.
_LONGEST_WAIT_S = 5.0

#: Records of parked portals have a memory of their own, so much smaller than that of all others.
_ROOM_SHARE = 4


def can_park(queue: Queue) -> bool:
    """Whether portals in trouble can wait in the queue: it is read again from where they stand, and notes fit."""
    return queue.promises.replay and queue.promises.note_bytes >= _NOTE_BYTES


class Attendant:
    """Of one worker. Where the queue can't park, it makes no parking, and the tries in memory are all there are."""

    def __init__(
        self,
        settings: WorkerSettings,
        queue: Queue,
        producer: Producer,
        lanes: Lanes,
        held: Held,
        health: Health,
        metrics: WorkerMetrics,
        *,
        every_s: float,
        now: Callable[[], float],
    ) -> None:
        #: How often it looks; an order waits as long, and a lane that gets through its records in less is not crowded.
        self._every_s = every_s
        self._lanes, self._held, self._health, self._metrics = lanes, held, health, metrics
        #: How many records of parked portals are in memory again.
        self.room = Held(
            max(1, settings.max_held_records // _ROOM_SHARE), max(1, settings.max_held_bytes // _ROOM_SHARE)
        )
        self._limit = settings.max_lane_records
        self._can_park = can_park(queue)
        self._inspector = queue.inspector()
        self._stream = ParkedStream(producer, self._inspector, settings.topic, settings.group, now=now)
        self._following = Following(self._stream)
        self._trimming = Trimming(queue, self._stream) if self._can_park and isinstance(queue, Trims) else None

    def parking(self, partition: Partition, place: Place) -> Parking | None:
        """The parking of a partition that became ours."""
        if not self._can_park:
            return None
        return Parking(partition, self._stream, self._lanes, self._held, self.room, place)

    async def run(self, partitions: Iterable[Partition]) -> None:
        """Look after the partitions, until cancelled. What the queue keeps waiting, keeps nothing else waiting."""

        def parked() -> list[Parked]:
            return [(one, one.parking) for one in partitions if one.parking is not None and one.is_open]

        async with asyncio.TaskGroup() as looks:
            if self._trimming is not None:
                looks.create_task(self._trimming.run(parked))
            while True:
                await asyncio.sleep(self._every_s)
                ours = parked()
                for partition, parking in ours:
                    self._relieve(partition, parking)
                self._count([parking for _, parking in ours])
                self._tell_health([parking for _, parking in ours])
                for look in self._following.looks(ours):
                    looks.create_task(look)

    def _relieve(self, partition: Partition, parking: Parking) -> None:
        limit = self._limit // _WHEN_FULL if self._held.is_full else self._limit
        for lane in list(partition.lanes.values()):
            lane.fold()
            if self._is_crowded(lane, limit) and parking.can_park(lane.portal):
                parking.park(lane, _trouble(lane), lane.in_hand)

    def _is_crowded(self, lane: Lane, limit: int) -> bool:
        """Whether it has too many records, and got through none of those that it had at the last look."""
        if lane.outlook is not None and lane.outlook.per_s is not None:
            limit = min(limit, int(lane.outlook.per_s * _LONGEST_WAIT_S))
        # What was loaded again has a memory of its own, and is never too much. It stands before what came since.
        if len(lane.records) <= limit or isinstance(lane.records[-1 - limit], Restored):
            lane.milestone = None
            return False
        if lane.milestone is not None and lane.records[0].offset <= lane.milestone:
            return True
        lane.milestone = lane.records[-1].offset
        return self._held.is_full and lane.timer is not None

    def _tell_health(self, ours: list[Parking]) -> None:
        troubles = [parking.trouble for parking in ours if parking.trouble]
        troubles += [self._following.trouble] if self._following.trouble else []
        waiting = [parking.trouble for parking in ours if not parking.is_ready and parking.trouble]
        if waiting:
            self._health.failing("parking", waiting[0])
        elif troubles:
            self._health.degraded("parking", troubles[0])
        else:
            self._health.ok("parking")

    def _count(self, ours: list[Parking]) -> None:
        parked = [portal for parking in ours for portal in parking.portals.values() if not portal.state.is_free]
        now_ms = self._stream.now_ms()
        oldest_ms = min((portal.state.since_ms for portal in parked), default=now_ms)
        self.room.sharers = max(1, sum(not portal.state.is_at_rest for portal in parked))
        self._metrics.parked_portals.set(len(parked))
        self._metrics.parked_records.set(sum(portal.records for portal in parked))
        self._metrics.parked_oldest.set(max(0, now_ms - oldest_ms) / 1000)

    async def close(self) -> None:
        """Let go of the queue."""
        await self._inspector.close()


def _trouble(lane: Lane) -> Trouble:
    if (waits_s := lane.waits_s) is None:
        return Trouble(reason=Reason.FLOODING)
    return Trouble(reason=Reason.FLOODING, attempts=lane.attempts, delay_s=waits_s)
