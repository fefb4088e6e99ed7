"""Deleting what nobody needs and nobody may want back any more."""

from collections.abc import Mapping
from functools import partial

from sqlalchemy import Connection, and_, delete, func, select, update

from ..groups.retention import has_more
from .database import Database
from .schema import Stream
from .tables import partition, record

#: Offsets of one transaction at most: other writers wait for it.
_BATCH = 1_000


def sweep(connection: Connection, stream: Stream, number: int, before: int, until_ms: int) -> bool:
    """Delete one batch of the partition, oldest first, in the caller's transaction.

    What stands before an offset is not needed. False when none of that is of that time.
    """
    here = and_(partition.c.stream == stream.id, partition.c.partition == number)
    first = connection.execute(select(partition.c.first_offset).where(here)).scalar_one()
    end = min(before, first + _BATCH)
    # From the first one on: before it stands nothing, but what is left of deleted rows would be gone through.
    rows = and_(
        record.c.stream == stream.id,
        record.c.partition == number,
        record.c.offset >= first,
        record.c.offset < end,
    )
    # Only a prefix goes: a late clock may have left a younger record among older ones.
    young = and_(rows, record.c.timestamp_ms > until_ms)
    end = connection.execute(select(func.coalesce(func.min(record.c.offset), end)).where(young)).scalar_one()
    if end <= first:
        return False
    connection.execute(delete(record).where(rows, record.c.offset < end))
    # Last, and never back: who writes to the partition waits for this row, and its former owner may be late.
    connection.execute(update(partition).where(here, partition.c.first_offset < end).values(first_offset=end))
    return True


def trim(database: Database, connection: Connection, stream: Stream, before: Mapping[int, int], keep_ms: int) -> bool:
    """Delete what stands in partitions before these offsets and is older than so much. Whether some is left of that."""
    until_ms = database.now_ms(connection) - keep_ms
    ends = {place.partition: end for place, end in database.ends(connection, stream.places()).items()}

    def step(number: int, end: int) -> bool:
        with database.writing(connection):
            return sweep(connection, stream, number, end, until_ms)

    # Where nothing stands yet, nothing is deleted either, or what comes there would be taken for it.
    return has_more(partial(step, number, min(end, ends[number])) for number, end in before.items())
