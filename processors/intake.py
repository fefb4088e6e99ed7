"""From the queue into the lanes: joins the group, fetches while there is room, and sorts records by portal."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import groupby
from operator import attrgetter

from forebay.queues.contract import Consumer, Queue, StoredRecord
from forebay.queues.errors import QueueUnavailable
from forebay.schemas.logger import get_logger
from forebay.schemas.names import streams

from .health import Health
from .held import Held
from .lanes import Lanes
from .ownership import Ownership
from .partitions import Partition
from .settings import WorkerSettings

_log = get_logger(__name__)

#: More would make the first of them wait for the last. With fewer a portal has few at once, and its turn costs as much.
_FETCH_RECORDS = 1000

#: Between two attempts to reach a queue that is gone.
_AGAIN_S = 1.0

#: A call that takes so much longer than it was to hangs, and raises nothing.
_SILENT_S = 10.0

_PARTITION = attrgetter("partition")


class Intake:
    """Reads, for as long as it is not cancelled."""

    def __init__(
        self,
        settings: WorkerSettings,
        queue: Queue,
        consumer: Consumer,
        ownership: Ownership,
        lanes: Lanes,
        held: Held,
        health: Health,
        *,
        fetch_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._settings, self._queue, self._consumer = settings, queue, consumer
        self._ownership, self._lanes, self._held, self._health = ownership, lanes, held, health
        self._fetch_s, self._clock = fetch_s, clock
        self._fetched_at = clock()
        #: When the queue was asked for what has not come yet.
        self._asked_at: float | None = None
        self._is_told = False

    @property
    def poll_age_s(self) -> float:
        """Seconds since the queue was last asked. It grows while memory is full, which costs no membership."""
        return self._clock() - self._fetched_at

    def look(self) -> None:
        """Tell it where the queue has answered nothing for long: one that hangs raises nothing."""
        silent_s = 0.0 if self._asked_at is None else self._clock() - self._asked_at
        if silent_s < self._fetch_s + _SILENT_S:
            self._is_told = False
            return
        self._health.failing("queue", f"has answered nothing for {silent_s:.0f} s")
        if not self._is_told:
            _log.warning("the queue answers nothing; waiting on", seconds=round(silent_s))
        self._is_told = True

    async def run(self) -> None:
        """Join, then read."""
        await self._until_reachable(self._join)
        while True:
            await self._held.room()
            await self._until_reachable(self._read)
            # Not before: a queue may learn only then that the group has no place for us.
            self._health.ok("group")
            # A queue whose records are at hand never waits, and the loop has more to do than to read.
            await asyncio.sleep(0)

    async def _join(self) -> None:
        for made in await self._queue.ensure(streams(self._settings.topic), self._settings.partitions):
            _log.info("made what the queue needs", made=made)
        await self._consumer.start(self._ownership)

    async def _read(self) -> None:
        # Awaited directly, not in a task: between the consumer's last look at what is ours and the lanes nothing may
        # happen, or records of a partition that is being given back would get in.
        self._asked_at = self._clock()
        try:
            records = await self._consumer.fetch(_FETCH_RECORDS, self._fetch_s)
        finally:
            self._asked_at = None
        self._fetched_at = self._clock()
        for number, run in groupby(records, _PARTITION):
            partition = self._ownership.open_one(number)
            if partition is not None:
                come = self._admit if number < self._settings.partitions else self._leave
                come(partition, list(run))

    def _admit(self, partition: Partition, records: list[StoredRecord]) -> None:
        fresh = partition.watermark.receive_all(records)
        if len(fresh) < len(records):
            partition.has_news = True
        self._held.add(fresh)
        self._lanes.add(partition, partition.parking.route(fresh) if partition.parking is not None else fresh)

    def _leave(self, partition: Partition, records: list[StoredRecord]) -> None:
        """Of a partition that somebody has added to the topic alone, of which nothing is handled.

        In memory it would leave no room for the others. How long it waits is told by its first.
        """
        if not partition.watermark.unfinished:
            partition.watermark.receive_all(records[:1])

    async def _until_reachable(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except QueueUnavailable as error:
                self._health.failing("queue", f"doesn't answer: {error}")
                _log.warning("the queue doesn't answer; trying again", error=str(error))
                await asyncio.sleep(_AGAIN_S)
            else:
                return self._health.ok("queue")
