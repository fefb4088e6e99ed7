"""How far the worker is behind, for the metrics."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

from forebay.queues.contract import Bounds, Queue
from forebay.queues.errors import QueueError
from forebay.schemas.logger import get_logger

from .health import Health
from .held import Held
from .metrics import WorkerMetrics
from .parking.restored import Restored
from .partitions import Partition
from .unread import Unread

_log = get_logger(__name__)


class Lag:
    """Measures the partitions that are ours."""

    def __init__(
        self,
        queue: Queue,
        topic: str,
        partitions: Iterable[Partition],
        held: Held,
        metrics: WorkerMetrics,
        health: Health,
        *,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._inspector = queue.inspector()
        self._topic, self._partitions, self._metrics, self._now = topic, partitions, metrics, now
        self._held, self._unread = held, Unread(self._inspector, topic)
        self._health, self._is_told = health, False
        self._clock, self._answered_at = clock, clock()
        #: What was asked about and not answered. Cut off from the queue we may own nothing any more.
        self._unanswered: list[int] = []
        #: The ends of partitions of which something was withheld when it was last asked.
        self._withheld: dict[int, int] = {}

    @property
    def silence_s(self) -> float:
        """For how long the queue has not said how much waits, though it was asked; 0 while it does."""
        return self._clock() - self._answered_at if self._unanswered else 0.0

    def measure_age(self) -> None:
        """Set the ages from what is in memory: as records come in order, nothing of its partition that waits is older.

        Of a partition of which nothing could be read, the queue has said what waits first.
        """
        self._metrics.actionable_lag.set(max(map(self._actionable_s, self._partitions), default=0.0))
        for one in self._partitions:
            oldest_ms, unread = one.watermark.oldest_ms, self._unread.first(one)
            self._metrics.lag_seconds.labels(one.number).set(self._age_s(unread.timestamp_ms if unread else oldest_ms))

    def _actionable_s(self, partition: Partition) -> float:
        """How long the oldest record waits of a portal that is neither parked nor waits for its next try."""
        return self._age_s(min(self._actionable_ms(partition), default=None))

    def _actionable_ms(self, partition: Partition) -> Iterator[int]:
        heads = [lane.records[0] for lane in partition.lanes.values() if lane.records and lane.timer is None]
        yield from (record.timestamp_ms for record in heads if not isinstance(record, Restored))
        unread, parking = self._unread.first(partition), partition.parking
        if parking is not None and not parking.is_ready and (oldest_ms := partition.watermark.oldest_ms) is not None:
            # No lane has it before it is known who is parked.
            yield oldest_ms
        if unread is not None and (parking is None or unread.portal not in parking.portals):
            yield unread.timestamp_ms

    def _age_s(self, timestamp_ms: int | None) -> float:
        return 0.0 if timestamp_ms is None else max(0.0, self._now() - timestamp_ms / 1000)

    async def measure_records(self) -> None:
        """Set `lag_records` from the queue's own bounds; when it doesn't answer, the last figure stands.

        That is told: who reads hears nothing of a part of the queue that is away, and waits for it.
        """
        asked = [one.number for one in self._partitions] or self._unanswered
        try:
            bounds = await self._inspector.bounds(self._topic, asked) if asked else {}
        except QueueError as error:
            self._unanswered = asked
            return self._tell(f"how much waits can't be told, and may not be read: {error}")
        self._unanswered, self._answered_at = [], self._clock()
        for one in self._partitions:
            if (found := bounds.get(one.number)) is not None:
                behind = found.end + found.withheld - one.watermark.position
                self._metrics.lag_records.labels(one.number).set(max(0, behind))
        if self._held.is_full:
            # A queue that can't be read so, or not just now, has told how much waits all the same.
            with suppress(QueueError):
                await self._unread.look(self._partitions, bounds)
        if stuck := self._stuck(bounds):
            which = ", ".join(map(str, stuck))
            return self._tell(f"nothing more of partitions {which} can be read: another program's transaction is open")
        self._is_told = False
        self._health.ok("lag")

    def _stuck(self, bounds: Mapping[int, Bounds]) -> list[int]:
        """The partitions of which something is withheld, and was already before their end."""
        former, self._withheld = self._withheld, {number: one.end for number, one in bounds.items() if one.withheld}
        return [number for number, end in self._withheld.items() if former.get(number) == end]

    def _tell(self, why: str) -> None:
        self._health.degraded("lag", f"{why}; look at `forebay doctor`")
        if not self._is_told:
            _log.warning("some of what waits is not read", reason=why)
        self._is_told = True

    async def close(self) -> None:
        """Let go of the queue."""
        await self._inspector.close()
