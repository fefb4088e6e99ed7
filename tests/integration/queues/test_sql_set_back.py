"""A database that is set back under running members: a backup is restored, or a copy takes over that lacks events."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Delete, Update, delete, select, text, update
from structlog.testing import capture_logs

from forebay.queues.contract import Commit, Consumer, Producer, Queue
from forebay.queues.errors import Fenced, QueueUnavailable
from forebay.queues.groups.contract import Wanted
from forebay.queues.sql.claims import Claims
from forebay.queues.sql.consumer import SqlConsumer
from forebay.queues.sql.database import Database, Row
from forebay.queues.sql.group import SqlGroup
from forebay.queues.sql.group_clock import GroupClock
from forebay.queues.sql.reader import SqlLog, read
from forebay.queues.sql.schema import find
from forebay.queues.sql.sqlite.database import SqliteDatabase
from forebay.queues.sql.tables import claim, metadata
from forebay.queues.sql.tables import record as record_table
from forebay.queues.threads.undone import again
from tests.integration.queues.members import KEEP_EVERYTHING, PARTITIONS, STREAM, Follower, fetch, record, send_all

#: Heartbeats come three times in it. A machine that stands still for a moment costs nobody a partition.
SESSION_S = 3.0

#: Who has such a session sees nothing by its heartbeats.
HEARTBEATS_FAR_APART_S = 3600

#: What counts the offsets of a PostgreSQL.
COUNTERS = "SELECT sequencename FROM pg_sequences WHERE sequencename LIKE 'forebay_offset_%'"


class Backup:
    """All that stands in the database, as a dump has it."""

    def __init__(self, database: Database, partition: int) -> None:
        self._database, self.partition = database, partition
        with closing(database.connect()) as connection:
            self._rows = {table: connection.execute(select(table)).mappings().all() for table in metadata.sorted_tables}

    def put_back(self) -> None:
        """In one step, as far as anybody else sees it."""
        again(self._put_back)

    def _put_back(self) -> None:
        with closing(self._database.connect()) as connection, self._database.writing(connection):
            for table, rows in self._rows.items():
                connection.execute(delete(table))
                if rows:
                    connection.execute(table.insert(), [dict(row) for row in rows])
            if connection.dialect.name == "postgresql":
                for counter in connection.execute(text(COUNTERS)).scalars():
                    connection.execute(text(f"SELECT setval('{counter}', 2, false)"))


async def started(database: Database, session_s: float = SESSION_S) -> tuple[Consumer, Follower]:
    consumer, follower = (
        SqlConsumer(database, STREAM, "group", session_s=session_s, retention=KEEP_EVERYTHING),
        Follower(),
    )
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    return consumer, follower


def a_member(database: Database, connection: Connection) -> SqlGroup:
    """One that does what it is told to, when it is told to."""
    claims = Claims(group="group", stream=find(connection, STREAM), me="me", session_ms=60_000)
    clock = GroupClock(database.now_ms, claims.session_ms)
    return SqlGroup(database=database, claims=claims, retention=KEEP_EVERYTHING, clock=clock)


def set_back(database: Database, offset: int) -> None:
    """Let the groups be where they were then."""
    with closing(database.connect()) as connection, database.writing(connection):
        connection.execute(update(claim).where(claim.c.offset > offset).values(offset=offset))


async def until_it_begins_at(offset: int, partition: int, consumer: Consumer, follower: Follower) -> None:
    while partition not in follower.owned or follower.owned[partition].offset != offset:
        await consumer.fetch(1, 0.01)


async def test_a_member_whose_group_was_set_back_begins_where_the_group_was_then(
    database: Database, producer: Producer
) -> None:
    consumer, follower = await started(database)
    partition = await send_all(producer, 5)
    await fetch(consumer, 5)
    for offset in (2, 5):
        await consumer.commit({partition: Commit(offset=offset)})

    with capture_logs() as lines:
        set_back(database, 2)
        await until_it_begins_at(2, partition, consumer, follower)

    assert follower.told[PARTITIONS:] == ["lost", "assigned"]
    assert [line["partitions"] for line in lines if line["event"] == "set_back"] == [[partition]]
    await consumer.commit({partition: Commit(offset=3)})
    await consumer.close()


async def test_what_was_read_before_the_group_was_set_back_is_not_committed_over_it(
    queue: Queue, database: Database, producer: Producer
) -> None:
    consumer, _ = await started(database, HEARTBEATS_FAR_APART_S)
    partition = await send_all(producer, 5)
    await fetch(consumer, 5)
    await consumer.commit({partition: Commit(offset=4)})

    set_back(database, 2)
    with pytest.raises(Fenced) as fenced:
        await consumer.commit({partition: Commit(offset=5)})

    assert fenced.value.partitions == {partition}
    inspector = queue.inspector()
    assert (await inspector.groups(STREAM))["group"][partition].offset == 2
    await inspector.close()
    await consumer.close()


async def test_a_commit_that_says_the_same_again_is_none_of_a_group_that_was_set_back(
    database: Database, producer: Producer
) -> None:
    consumer, follower = await started(database)
    partition = await send_all(producer, 5)
    for offset, note in ((3, b"one"), (3, b"two"), (3, b"two")):
        await consumer.commit({partition: Commit(offset=offset, note=note)})
    told = list(follower.told)

    await consumer.close()

    assert told == ["assigned"] * PARTITIONS


@pytest.mark.parametrize(
    "to", [delete(claim), update(claim).values(epoch=claim.c.epoch - 1)], ids=["the first", "another"]
)
@pytest.mark.parametrize("is_held", [True, False], ids=["held until then", "lost before"])
async def test_a_database_of_before_a_claim_gives_no_epoch_twice(
    database: Database, producer: Producer, is_held: bool, to: Delete | Update
) -> None:
    partition = await send_all(producer, 5)
    with closing(database.connect()) as connection:
        group = a_member(database, connection)
        held = {one.partition: one.epoch for one in group.beat(connection, {}, is_leaving=False).claimed}
        with database.writing(connection):
            connection.execute(to)

        beat = group.beat(connection, held if is_held else {}, is_leaving=False)
        late = group.commit(connection, {partition: held[partition]}, {partition: Commit(offset=5)})

        assert not beat.still
        assert {one.partition for one in beat.claimed} == set(held)
        assert not late, "it was asked for before, and would pass over what is to come again"


async def read_further_than_a_backup(consumer: Consumer, producer: Producer, database: Database) -> Backup:
    """Two events are finished, and three more are read, by one whose heartbeats and commits tell it nothing."""
    partition = await send_all(producer, 2)
    await fetch(consumer, 2)
    await consumer.commit({partition: Commit(offset=2)})
    kept = Backup(database, partition)
    for number in (2, 3, 4):
        await producer.send(STREAM, record(number))
    await fetch(consumer, 3)
    return kept


async def test_new_events_are_not_passed_over_by_who_has_read_further_than_a_backup_goes(
    database: Database, producer: Producer
) -> None:
    consumer, follower = await started(database, HEARTBEATS_FAR_APART_S)
    kept = await read_further_than_a_backup(consumer, producer, database)

    with capture_logs() as lines:
        kept.put_back()
        positions = [await producer.send(STREAM, record(number)) for number in range(5, 10)]
        found = await fetch(consumer, 5)

    assert [position.offset for position in positions] == [2, 3, 4, 5, 6]
    assert found == [b"5", b"6", b"7", b"8", b"9"]
    assert follower.told[PARTITIONS:] == ["lost", "assigned"]
    assert [line["partitions"] for line in lines if line["event"] == "set_back"] == [[kept.partition]]
    await consumer.close()


@pytest.mark.parametrize("new", [2, 3], ids=["fewer", "as many"])
async def test_what_was_read_before_the_database_was_set_back_is_not_committed_over_new_events(
    database: Database, producer: Producer, new: int
) -> None:
    consumer, follower = await started(database, HEARTBEATS_FAR_APART_S)
    kept = await read_further_than_a_backup(consumer, producer, database)

    kept.put_back()
    for number in range(new):
        await producer.send(STREAM, record(5 + number))
    with pytest.raises(Fenced):
        await consumer.commit({kept.partition: Commit(offset=5)})
    found = await fetch(consumer, new)

    assert found == [b"5", b"6", b"7"][:new]
    assert follower.told[PARTITIONS:] == ["lost", "assigned"]
    await consumer.close()


@pytest.mark.parametrize("at", [1, 2, 3])
async def test_who_reads_on_while_the_database_is_set_back_hears_of_it(
    database: Database, producer: Producer, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    partition = await send_all(producer, 1)
    with closing(database.connect()) as connection, closing(database.connect()) as other:
        stream = find(connection, STREAM)
        log, [last] = SqlLog(database, stream), read(database, connection, stream, partition, 0, 1)
        looks, look = count(1), database.read

        def looked(*asked: Any) -> list[Row]:
            if next(looks) == at:
                with database.writing(other):
                    other.execute(update(record_table).values(value=b"another"))
            return look(*asked)

        monkeypatch.setattr(database, "read", looked)
        [stretch] = log.read(connection, [Wanted(partition=partition, offset=1, end=2, most=10, last=last)])

    assert stretch.is_set_back


async def test_a_record_that_is_gone_where_nothing_was_deleted_is_missed(
    database: Database, producer: Producer
) -> None:
    partition = await send_all(producer, 1)
    with closing(database.connect()) as connection:
        stream = find(connection, STREAM)
        log, [first] = SqlLog(database, stream), read(database, connection, stream, partition, 0, 1)

        with database.writing(connection):
            connection.execute(delete(record_table))

        assert not log.still_has(connection, first)


def test_a_commit_that_was_undone_is_not_taken_for_one_that_is_gone(
    queue: Queue, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = database.writing

    @contextmanager
    def undone(connection: Connection, **turn: str) -> Iterator[None]:
        with whole(connection, **turn):
            yield
            raise QueueUnavailable("undone")

    with closing(database.connect()) as connection:
        group = a_member(database, connection)
        held = {one.partition: one.epoch for one in group.beat(connection, {}, is_leaving=False).claimed}
        with monkeypatch.context() as failing, pytest.raises(QueueUnavailable):
            failing.setattr(database, "writing", undone)
            group.commit(connection, held, dict.fromkeys(held, Commit(offset=5)))

        assert set(group.beat(connection, held, is_leaving=False).still) == set(held)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_events_that_get_the_numbers_of_lost_ones_are_not_passed_over(
    database: SqliteDatabase, producer: Producer, tmp_path: Path
) -> None:
    consumer, _ = await started(database)
    partition = await send_all(producer, 2)
    await fetch(consumer, 2)
    await consumer.commit({partition: Commit(offset=2)})
    backup(tmp_path / "queue.db", tmp_path / "backup.db")
    for number in (2, 3, 4):
        await producer.send(STREAM, record(number))
    await fetch(consumer, 3)
    await consumer.commit({partition: Commit(offset=5)})

    restore(tmp_path / "backup.db", tmp_path / "queue.db")
    positions = [await producer.send(STREAM, record(number)) for number in range(5, 10)]
    found: list[bytes] = []
    while found[-1:] != [b"9"] or len(found) < 5:
        found += await fetch(consumer, 1)

    assert [position.offset for position in positions] == [2, 3, 4, 5, 6]
    assert found[-5:] == [b"5", b"6", b"7", b"8", b"9"]
    await consumer.close()


def backup(file: Path, to: Path) -> None:
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def restore(copy: Path, to: Path) -> None:
    for old in to.parent.glob("queue.db*"):
        old.unlink()
    shutil.copy(copy, to)
