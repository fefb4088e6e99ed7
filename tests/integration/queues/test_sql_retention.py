"""Retention of the SQL queue: what is deleted, and when."""

import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import ColumnElement, Connection, delete, text

from forebay.queues.contract import Commit, Producer, Queue
from forebay.queues.groups.retention import Retention
from forebay.queues.portals.contract import Fact
from forebay.queues.sql.claims import Claims
from forebay.queues.sql.consumer import SqlConsumer
from forebay.queues.sql.database import Database
from forebay.queues.sql.group import SqlGroup
from forebay.queues.sql.group_clock import GroupClock
from forebay.queues.sql.portals import SqlPortalStore
from forebay.queues.sql.schema import find
from forebay.queues.sql.tables import claim
from forebay.queues.sql.tables import record as table
from tests.integration.queues.members import (
    PARTITIONS,
    STREAM,
    Follower,
    fetch,
    keeps_nothing_when_let_go,
    record,
    send_all,
    start_of,
)


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


async def test_what_every_group_finished_is_deleted_when_it_is_old(
    queue: Queue, producer: Producer, database: Database
) -> None:
    retention = Retention(stream=STREAM, keep_ms=1000, every_s=0.01)
    partition = await send_all(producer, 2500, timestamp_ms=wall_ms() - 5000)
    slower = SqlConsumer(database, STREAM, "slower", session_s=5, retention=retention)
    faster = SqlConsumer(database, STREAM, "faster", session_s=5, retention=retention)
    for consumer in (slower, faster):
        await consumer.start(follower := Follower())
        await follower.owns(PARTITIONS)

    await faster.commit({partition: Commit(offset=2500)})
    await slower.commit({partition: Commit(offset=2200)})
    start = await start_of(queue, partition, lambda start: start >= 2200)

    assert start == 2200
    await faster.close()
    await slower.close()
    inspector = queue.inspector()
    assert [one.value for one in await inspector.read(STREAM, partition, 0, 1)] == [b"2200"]
    await inspector.close()


async def test_a_group_that_is_let_go_as_documented_keeps_nothing(
    queue: Queue, producer: Producer, database: Database
) -> None:
    retention = Retention(stream=STREAM, keep_ms=1000, every_s=0.01)
    documented = Path(__file__).parents[3] / "docs" / "sql.md"
    (statement,) = [line for line in documented.read_text("utf-8").splitlines() if "DELETE FROM forebay_claim" in line]

    def let_go() -> None:
        with closing(database.connect()) as direct, database.writing(direct):
            mariadb = direct.dialect.name in ("mysql", "mariadb")
            direct.execute(text(statement.replace('"', "`") if mariadb else statement))

    await keeps_nothing_when_let_go(
        queue, producer, lambda group: SqlConsumer(database, STREAM, group, session_s=5, retention=retention), let_go
    )


async def test_what_is_young_is_kept(queue: Queue, producer: Producer, database: Database) -> None:
    old, young = wall_ms() - 7_200_000, wall_ms() - 5000
    partition = await send_all(producer, 10, timestamp_ms=old)
    await send_all(producer, 10, timestamp_ms=young)
    await send_all(producer, 10, timestamp_ms=old)
    consumer = SqlConsumer(
        database, STREAM, "group", session_s=5, retention=Retention(stream=STREAM, keep_ms=3_600_000, every_s=0.01)
    )
    await consumer.start(Follower())
    await consumer.commit({partition: Commit(offset=30)})

    start = await start_of(queue, partition, lambda start: start > 0)

    assert start == 10
    await consumer.close()


async def test_a_stream_without_retention_keeps_everything(
    queue: Queue, producer: Producer, database: Database
) -> None:
    partition = await send_all(producer, 10)
    retention = Retention(stream=STREAM, keep_ms=1000, every_s=0.01)
    other = SqlConsumer(database, "another", "group", session_s=5, retention=retention)
    await other.start(Follower())
    position = await producer.send("another", record(1))
    await other.commit({position.partition: Commit(offset=1)})
    consumer = SqlConsumer(database, STREAM, "group", session_s=5, retention=retention)
    await consumer.start(Follower())
    await consumer.commit({partition: Commit(offset=10)})

    await start_of(queue, partition, lambda start: start == 10)

    inspector = queue.inspector()
    assert (await inspector.bounds("another"))[position.partition].start == 0
    await inspector.close()
    await consumer.close()
    await other.close()


async def test_a_reader_passes_over_what_retention_took(queue: Queue, producer: Producer, database: Database) -> None:
    partition = await send_all(producer, 10)
    with closing(database.connect()) as direct, database.writing(direct):
        direct.execute(delete(table).where((table.c.offset < 5) | (table.c.offset == 7)))
    consumer, follower = queue.consumer(STREAM, "group"), Follower()
    await consumer.start(follower)

    found = await fetch(consumer, 4)
    await producer.send(STREAM, record(10))

    assert found == [b"5", b"6", b"8", b"9"]
    assert await fetch(consumer, 1) == [b"10"]
    assert follower.owned[partition].offset == 0
    await consumer.close()


async def test_of_what_was_taken_back_the_last_stays_where_it_is(
    queue: Queue, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end is found by it: who has read to there would take the store for another."""
    store = SqlPortalStore(database, "events.portals")
    await store.ensure()
    with monkeypatch.context() as long_ago:
        long_ago.setattr(SqlPortalStore, "_now_ms", lambda _: 0)
        end = 1 + await store.put([Fact("one", b"holds"), Fact("another", None), Fact("last", None)])

    await store.ensure()

    assert [fact.key for fact in (await store.read(0, 0.0)).facts] == ["one", "last"]
    assert await store.end() == end
    await store.close()


async def test_a_group_that_never_had_a_partition_has_not_finished_it(
    queue: Queue, database: Database, producer: Producer
) -> None:
    """As one has that begins, before its members have taken all."""
    partition = await send_all(producer, 10)
    with closing(database.connect()) as connection:
        old, new = (_member(database, connection, name) for name in ("old", "new"))
        held = {one.partition: one.epoch for one in old.beat(connection, {}, is_leaving=False).claimed}
        old.commit(connection, held, {one: Commit(offset=10 if one == partition else 0) for one in held})
        new.beat(connection, {}, is_leaving=False)

        _forget(database, connection, claim.c.group == "new", claim.c.partition == partition)
        assert not old.sweep(connection, partition)
        _forget(database, connection, claim.c.group == "new")
        assert old.sweep(connection, partition)
        # The second time it takes what it does not know to have taken: where it begins was stored.
        begins = [
            {one.partition: one.committed for one in new.beat(connection, {}, is_leaving=False).claimed}[partition]
            for _ in range(2)
        ]

    assert begins == [Commit(offset=10)] * 2


def _member(database: Database, connection: Connection, group: str) -> SqlGroup:
    claims = Claims(group=group, stream=find(connection, STREAM), me=group, session_ms=60_000)
    clock = GroupClock(database.now_ms, claims.session_ms)
    return SqlGroup(database=database, claims=claims, retention=Retention(stream=STREAM, keep_ms=0), clock=clock)


def _forget(database: Database, connection: Connection, *which: ColumnElement[bool]) -> None:
    with database.writing(connection):
        connection.execute(delete(claim).where(*which))
