"""Looking at the queue from outside of any group."""

from collections import defaultdict
from collections.abc import Callable, Collection
from functools import partial

from sqlalchemy import Connection, and_, select

from forebay.queues.contract import Bounds, GroupState, StoredRecord, among

from ..threads.connection_thread import Lives
from .connection_thread import connection_thread
from .database import Database, Place
from .reader import read
from .schema import find
from .tables import claim, partition, record


class SqlInspector:
    """Reads in a thread of its own."""

    def __init__(self, database: Database, lives: Lives) -> None:
        self._database = database
        self._thread = connection_thread(database, "forebay-inspector", lives)

    async def partitions(self, stream: str) -> int:
        """As in the contract."""
        return len(await self.bounds(stream))

    async def bounds(self, stream: str, only: Collection[int] | None = None) -> dict[int, Bounds]:
        """As in the contract."""
        return among(await self._thread.run(partial(_bounds, database=self._database, stream=stream)), only)

    async def read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
        """As in the contract; large records come in fewer than asked for, but one at least."""
        return await self._thread.run(
            lambda connection: read(
                self._database, connection, find(connection, stream), partition, offset, max_records
            )
        )

    async def offset_at(self, stream: str, partition: int, timestamp_ms: int) -> int:
        """As in the contract; looks at the records one by one, since an index would cost every write."""
        return await self._thread.run(
            partial(_offset_at, database=self._database, stream=stream, number=partition, timestamp_ms=timestamp_ms)
        )

    async def groups(self, stream: str, only: Collection[str] | None = None) -> dict[str, dict[int, GroupState]]:
        """As in the contract."""
        return among(await self._thread.run(partial(_groups, stream=stream, now_ms=self._database.now_ms)), only)

    async def close(self) -> None:
        """As in the contract."""
        await self._thread.close()


def _bounds(connection: Connection, database: Database, stream: str) -> dict[int, Bounds]:
    found = find(connection, stream)
    # The beginnings first: what retention takes in between then lies within, and not behind the end.
    starts = select(partition.c.partition, partition.c.first_offset).where(partition.c.stream == found.id)
    first = {row.partition: row.first_offset for row in connection.execute(starts)}
    ends = database.ends(connection, found.places())
    return {place.partition: Bounds(start=first[place.partition], end=end) for place, end in sorted(ends.items())}


def _offset_at(connection: Connection, database: Database, stream: str, number: int, timestamp_ms: int) -> int:
    found = find(connection, stream)
    # The end first: a record that comes in between then lies behind the answer, and is not passed over.
    [end] = database.ends(connection, [Place(found.id, number)]).values()
    at = and_(record.c.stream == found.id, record.c.partition == number, record.c.timestamp_ms >= timestamp_ms)
    first = connection.execute(select(record.c.offset).where(at).order_by(record.c.offset).limit(1)).scalar()
    return int(end if first is None else first)


def _groups(
    connection: Connection, stream: str, now_ms: Callable[[Connection], int]
) -> dict[str, dict[int, GroupState]]:
    found: dict[str, dict[int, GroupState]] = defaultdict(dict)
    now = now_ms(connection)
    for row in connection.execute(select(claim).where(claim.c.stream == find(connection, stream).id)):
        owner = row.owner if row.expires_at > now else None
        found[row.group][row.partition] = GroupState(offset=row.offset, note=bytes(row.note), owner=owner)
    return dict(found)
