"""How far the worker is behind, for the metrics."""

from collections.abc import Callable, Iterable

from forebay.queues.contract import Bounds, Queue
from forebay.queues.errors import QueueError

from .metrics import WorkerMetrics
from .parking.restored import Restored
from .partitions import Partition


class Lag:
    """Measures the partitions that are ours."""

    def __init__(
        self,
        queue: Queue,
        topic: str,
        partitions: Iterable[Partition],
        metrics: WorkerMetrics,
        *,
        now: Callable[[], float],
    ) -> None:
        self._inspector = queue.inspector()
        self._topic, self._partitions, self._metrics, self._now = topic, partitions, metrics, now

    def measure_age(self) -> None:
        """Set the ages from what is in memory: as records come in order, nothing that waits is older."""
        self._metrics.actionable_lag.set(max(map(self._actionable_s, self._partitions), default=0.0))
        for one in self._partitions:
            oldest_ms = one.watermark.oldest_ms
            age_s = 0.0 if oldest_ms is None else max(0.0, self._now() - oldest_ms / 1000)
            self._metrics.lag_seconds.labels(one.number).set(age_s)

    def _actionable_s(self, partition: Partition) -> float:
        """How long the oldest record waits of a portal that is neither parked nor waits for its next try."""
        heads = [lane.records[0] for lane in partition.lanes.values() if lane.records and lane.timer is None]
        times_ms = [record.timestamp_ms for record in heads if not isinstance(record, Restored)]
        return max(0.0, self._now() - min(times_ms) / 1000) if times_ms else 0.0

    async def measure_records(self) -> None:
        """Set `lag_records` from the queue's own bounds; when it doesn't answer, the last figure stands."""
        try:
            bounds = await self._inspector.bounds(self._topic)
        except QueueError:
            return
        for one in self._partitions:
            end = bounds.get(one.number, Bounds(start=0, end=0)).end
            self._metrics.lag_records.labels(one.number).set(max(0, end - one.watermark.position))

    async def close(self) -> None:
        """Let go of the queue."""
        await self._inspector.close()
