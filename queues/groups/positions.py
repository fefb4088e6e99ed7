"""How far a consumer has read, which is ahead of what it has committed."""

import threading
from dataclasses import dataclass

from forebay.queues.contract import StoredRecord

from .bell import Bell


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The next offset to read, in one assignment of the partition, and the last record that was read in it."""

    epoch: int
    offset: int
    last: StoredRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Records that were read at a position, and the offset behind them."""

    partition: int
    position: Position
    following: int
    records: list[StoredRecord]
    #: Nothing was read: what was read before is not there any more.
    is_set_back: bool = False

    @property
    def last(self) -> StoredRecord | None:
        """The last record up to here."""
        return self.records[-1] if self.records else self.position.last


class Positions:
    """Partition → position. The event loop changes them, the reading thread takes copies."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._lock = threading.Lock()
        self._positions: dict[int, Position] = {}

    def assign(self, partition: int, position: Position) -> None:
        """Read this partition too."""
        with self._lock:
            self._positions[partition] = position
        self._bell.ring()

    def drop(self, partition: int) -> None:
        """Read it no more."""
        with self._lock:
            self._positions.pop(partition, None)

    def copy(self) -> dict[int, Position]:
        """All of them."""
        with self._lock:
            return dict(self._positions)

    def pass_over(self, chunk: Chunk) -> bool:
        """Go on behind the chunk. False when it may not be given out: dropped since, or given out already."""
        with self._lock:
            if self._positions.get(chunk.partition) != chunk.position:
                return False
            self._positions[chunk.partition] = Position(
                epoch=chunk.position.epoch, offset=chunk.following, last=chunk.last
            )
            return True
