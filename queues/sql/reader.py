"""Reading records in order: what the consumer and the inspector share, and the consumer's waiting for more."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from forebay.queues.contract import PlacedRecord, StoredRecord

from .bell import Bell
from .database import Database, Place, Row
from .headers import unpack
from .positions import Chunk, Position, Positions
from .schema import Stream

#: Bytes of values that one read takes into memory at most, a single larger record aside.
_READ_BYTES = 8 * 1024 * 1024


def stored(stream: str, rows: Iterable[Row]) -> list[StoredRecord]:
    """The rows as records."""
    return [
        PlacedRecord(
            stream=stream,
            partition=row.partition,
            offset=row.offset,
            key=row.key,
            value=row.value,
            timestamp_ms=row.timestamp_ms,
            headers=unpack(row.headers),
        )
        for row in rows
    ]


def read(
    database: Database, connection: Connection, stream: Stream, partition: int, offset: int, most: int
) -> list[StoredRecord]:
    """Records of the partition from the offset on: at most so many, and at most so many bytes as memory should hold."""
    place = Place(stream.id, partition)
    return stored(stream.name, database.read(connection, place, offset, most, _READ_BYTES))


@dataclass(slots=True, kw_only=True, eq=False)
class Wait:
    """How long a call of `fetch` may take. The caller sets `over` when it waits no longer."""

    until: float
    over: bool = False


class Reader:
    """The part of `fetch` that runs in the reading thread."""

    def __init__(
        self,
        database: Database,
        stream: Stream,
        positions: Positions,
        bell: Bell,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._stream, self._positions = database, stream, positions
        self._bell, self._clock = bell, clock
        self._watch = database.watch(stream.id)
        self._turn = 0

    def fetch(self, connection: Connection, max_records: int, wait: Wait) -> list[Chunk]:
        """Chunks of owned partitions as soon as there are any; none when the wait is over."""
        while not wait.over:
            # In this order: what changes after these lines is seen by the next look.
            self._bell.hush()
            self._watch.begin(connection)
            positions = self._positions.copy()
            chunks = self._read(connection, positions, max_records)
            left = wait.until - self._clock()
            if chunks or left <= 0:
                return chunks
            # Whoever has said that the wait is over has rung before we come to wait, or rings while we do.
            if not wait.over:
                self._watch.wait(positions, self._bell, left)
        return []

    def _read(self, connection: Connection, positions: Mapping[int, Position], max_records: int) -> list[Chunk]:
        ends = self._database.ends(connection, [Place(self._stream.id, partition) for partition in positions])
        behind = [place.partition for place, end in ends.items() if end > positions[place.partition].offset]
        chunks = []
        for index, partition in enumerate(self._turned(behind)):
            # An equal part of what is left for each, so that a full partition starves none.
            most = -(-max_records // (len(behind) - index))
            end = ends[Place(self._stream.id, partition)]
            chunk = self._chunk(connection, partition, positions[partition], end, most)
            chunks.append(chunk)
            max_records -= len(chunk.records)
        return chunks

    def _turned(self, partitions: list[int]) -> list[int]:
        """In another order each time: with few records to give, each partition comes first in its turn."""
        self._turn += 1
        first = self._turn % len(partitions) if partitions else 0
        return partitions[first:] + partitions[:first]

    def _chunk(self, connection: Connection, partition: int, position: Position, end: int, most: int) -> Chunk:
        if most <= 0:
            return Chunk(partition=partition, position=position, following=position.offset, records=[])
        records = read(self._database, connection, self._stream, partition, position.offset, most)
        # Nothing before the end: retention took it all, and there is nothing to wait for either.
        following = records[-1].offset + 1 if records else end
        return Chunk(partition=partition, position=position, following=following, records=records)
