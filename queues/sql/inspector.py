"""Looking at the queue from outside of any group."""

from collections import defaultdict

from sqlalchemy import Connection, and_, select

from forebay.queues.contract import Bounds, GroupState, StoredRecord

from ..threads.connection_thread import Lives
from ..threads.inspector import ThreadInspector
from .connection_thread import connection_thread
from .database import Database, Place
from .reader import read
from .schema import find
from .tables import claim, partition, record


class SqlInspector(ThreadInspector[Connection]):
    """Of streams in a database."""

    def __init__(self, database: Database, lives: Lives) -> None:
        super().__init__(connection_thread(database, "forebay-inspector", lives))
        self._database = database

    def _partitions(self, connection: Connection, name: str) -> int:
        return find(connection, name).partitions

    def _bounds(self, connection: Connection, name: str) -> dict[int, Bounds]:
        stream = find(connection, name)
        # The beginnings first: what retention takes in between then lies within, and not behind the end.
        starts = select(partition.c.partition, partition.c.first_offset).where(partition.c.stream == stream.id)
        first = {row.partition: row.first_offset for row in connection.execute(starts)}
        ends = self._database.ends(connection, stream.places())
        return {place.partition: Bounds(start=first[place.partition], end=end) for place, end in sorted(ends.items())}

    def _read(self, connection: Connection, name: str, number: int, offset: int, most: int) -> list[StoredRecord]:
        return read(self._database, connection, find(connection, name), number, offset, most)

    def _offset_at(self, connection: Connection, name: str, number: int, timestamp_ms: int) -> int:
        stream = find(connection, name)
        # The end first: a record that comes in between then lies behind the answer, and is not passed over.
        [end] = self._database.ends(connection, [Place(stream.id, number)]).values()
        at = and_(record.c.stream == stream.id, record.c.partition == number, record.c.timestamp_ms >= timestamp_ms)
        first = connection.execute(select(record.c.offset).where(at).order_by(record.c.offset).limit(1)).scalar()
        return int(end if first is None else first)

    def _groups(self, connection: Connection, name: str) -> dict[str, dict[int, GroupState]]:
        found: dict[str, dict[int, GroupState]] = defaultdict(dict)
        now = self._database.now_ms(connection)
        for row in connection.execute(select(claim).where(claim.c.stream == find(connection, name).id)):
            owner = row.owner if row.expires_at > now else None
            found[row.group][row.partition] = GroupState(offset=row.offset, note=bytes(row.note), owner=owner)
        return dict(found)
