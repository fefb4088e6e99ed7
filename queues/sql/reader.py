"""Reading records of a stream in a database."""

from collections.abc import Collection, Sequence
from functools import partial

from sqlalchemy import Connection, and_, select

from forebay.queues.contract import PlacedRecord, StoredRecord

from ..groups.bell import Bell
from ..groups.contract import Stretch, Wanted, up_to
from ..groups.parts import one_by_one
from ..headers import unpack
from .database import Database, Place
from .schema import Stream
from .tables import partition

#: Bytes of values that one read takes into memory at most, a single larger record aside.
_READ_BYTES = 8 * 1024 * 1024


def read(
    database: Database,
    connection: Connection,
    stream: Stream,
    number: int,
    offset: int,
    most: int,
    max_bytes: int = _READ_BYTES,
) -> list[StoredRecord]:
    """Records of the partition from the offset on: at most so many, and at most so many bytes as memory should hold."""
    return [
        PlacedRecord(
            stream=stream.name,
            partition=row.partition,
            offset=row.offset,
            key=row.key,
            value=row.value,
            timestamp_ms=row.timestamp_ms,
            headers=unpack(row.headers),
        )
        for row in database.read(connection, Place(stream.id, number), offset, most, max_bytes)
    ]


class SqlLog:
    """The stream as one reader of a group reads it."""

    def __init__(self, database: Database, stream: Stream) -> None:
        self._database, self._stream = database, stream
        self._watch = database.watch(stream.id)

    def begin(self, connection: Connection) -> None:
        """As in the protocol, and so are the next three."""
        self._watch.begin(connection)

    def wait(self, partitions: Collection[int], bell: Bell, timeout_s: float) -> None:
        """The database tells, or is looked at."""
        self._watch.wait(partitions, bell, timeout_s)

    def ends(self, connection: Connection, partitions: Collection[int]) -> dict[int, int]:
        """In one question."""
        places = [Place(self._stream.id, number) for number in partitions]
        return {place.partition: end for place, end in self._database.ends(connection, places).items()}

    def read(self, connection: Connection, wanted: Sequence[Wanted]) -> list[Stretch]:
        """In one question for each."""
        return one_by_one(wanted, partial(self._stretch, connection), _READ_BYTES)

    def _stretch(self, connection: Connection, one: Wanted, max_bytes: int) -> Stretch:
        read_from = partial(read, self._database, connection, self._stream, one.partition)
        if (last := one.last) is not None:
            # What was read last is read again with the rest: as one row more it costs least.
            found = read_from(last.offset, one.most + 1, max_bytes + len(last.value))
            if len(found) > 1 and found[0] == last and found[1].offset >= one.offset:
                return up_to(found[1:], one.end)
        # Nothing was read yet; or what comes next is too large to stand beside it, or stands behind a gap, or is gone.
        found = read_from(one.offset, one.most, max_bytes)
        if last is not None and not self.still_has(connection, last):
            return Stretch([], one.offset, is_set_back=True)
        return up_to(found, one.end)

    def still_has(self, connection: Connection, record: StoredRecord) -> bool:
        """As in the protocol."""
        found = read(self._database, connection, self._stream, record.partition, record.offset, 1)
        if found and found[0].offset == record.offset:
            return found[0] == record
        here = and_(partition.c.stream == self._stream.id, partition.c.partition == record.partition)
        first = connection.execute(select(partition.c.first_offset).where(here)).scalar()
        return first is not None and record.offset < first
