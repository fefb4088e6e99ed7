"""The first record of a partition that nothing was read of, since memory is full of others' records."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from forebay.queues.contract import Bounds, Inspector

from .partitions import Partition


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """Where it was looked for, whose it is, and its time, in milliseconds since the epoch."""

    position: int
    portal: str
    timestamp_ms: int


class Unread:
    """What waits so in the partitions that are ours, by what the queue said when it was last asked."""

    def __init__(self, inspector: Inspector, topic: str) -> None:
        self._inspector, self._topic = inspector, topic
        self._found: dict[int, First] = {}

    def first(self, partition: Partition) -> First | None:
        """The oldest record of a partition of which nothing is in memory; None where none is known to wait."""
        found = self._found.get(partition.number)
        if found is None or partition.watermark.unfinished or found.position != partition.watermark.position:
            return None
        return found

    async def look(self, partitions: Iterable[Partition], bounds: Mapping[int, Bounds]) -> None:
        """Ask for those that are not known yet. Raises `QueueError`."""
        for one in list(partitions):
            position, found = one.watermark.position, bounds.get(one.number)
            waits = found is not None and found.end > position and not one.watermark.unfinished
            if waits and self.first(one) is None:
                for record in await self._inspector.read(self._topic, one.number, position, 1):
                    self._found[one.number] = First(
                        position=position, portal=record.key, timestamp_ms=record.timestamp_ms
                    )
