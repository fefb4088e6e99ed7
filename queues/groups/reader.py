"""Reading what is owned, and waiting for more."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..threads.connection_thread import Closable
from .bell import Bell
from .contract import Log, Wanted
from .parts import parts, turned
from .positions import Chunk, Position, Positions

C = TypeVar("C", bound=Closable)


@dataclass(slots=True, kw_only=True, eq=False)
class Wait:
    """How long a call of `fetch` may take. The caller sets `over` when it waits no longer."""

    until: float
    over: bool = False


class Reader(Generic[C]):
    """The part of `fetch` that runs in the reading thread."""

    def __init__(self, log: Log[C], positions: Positions, bell: Bell) -> None:
        self._log, self._positions, self._bell = log, positions, bell
        self._turn = 0

    def fetch(self, connection: C, max_records: int, wait: Wait) -> list[Chunk]:
        """Chunks of owned partitions as soon as there are any; none when the wait is over."""
        while not wait.over:
            # In this order: what changes after these lines is seen by the next look.
            self._bell.hush()
            self._log.begin(connection)
            positions = self._positions.copy()
            chunks = self._read(connection, positions, max_records)
            left = wait.until - time.monotonic()
            if chunks or left <= 0:
                return chunks
            # Whoever has said that the wait is over has rung before we come to wait, or rings while we do.
            if not wait.over:
                self._log.wait(positions, self._bell, left)
        return []

    def _read(self, connection: C, positions: Mapping[int, Position], max_records: int) -> list[Chunk]:
        ends = self._log.ends(connection, positions)
        waiting = {partition: end - positions[partition].offset for partition, end in ends.items()}
        self._turn += 1
        behind = turned([partition for partition, count in waiting.items() if count > 0], self._turn)
        wanted = [
            Wanted(
                partition=partition,
                offset=positions[partition].offset,
                end=ends[partition],
                most=most,
                last=positions[partition].last,
            )
            for partition, most in parts({partition: waiting[partition] for partition in behind}, max_records).items()
            if most
        ]
        found = zip(wanted, self._log.read(connection, wanted) if wanted else [], strict=True)
        chunks = [
            Chunk(
                partition=one.partition,
                position=positions[one.partition],
                following=stretch.following,
                records=stretch.records,
                is_set_back=stretch.is_set_back,
            )
            for one, stretch in found
            if stretch.is_set_back or stretch.following != one.offset
        ]
        shorter = [partition for partition, count in waiting.items() if count < 0]
        return chunks + [chunk for number in shorter for chunk in self._set_back(connection, number, positions[number])]

    def _set_back(self, connection: C, partition: int, position: Position) -> Iterator[Chunk]:
        """Of a log that ends before it was read to."""
        if position.last is not None and not self._log.still_has(connection, position.last):
            yield Chunk(partition=partition, position=position, following=position.offset, records=[], is_set_back=True)
