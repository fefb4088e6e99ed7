"""Tables that stay small: records come and go, and rows are changed all the time."""

import asyncio

import psycopg

from forebay.queues.contract import Commit, Consumer, Producer, Queue
from forebay.queues.groups.retention import Retention
from forebay.queues.sql.consumer import SqlConsumer
from forebay.queues.sql.postgresql.database import PostgresqlDatabase
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, record, send_all

SIZE = "SELECT pg_total_relation_size(%s::regclass)"
FIRST = "SELECT sum(first_offset) FROM forebay_partition"

ROUNDS, RECORDS = 6, 2_000


async def _pass(producer: Producer, consumer: Consumer, direct: "psycopg.Connection[tuple[int]]") -> None:
    """Send records, finish them, and return when retention has taken them."""
    await send_all(producer, RECORDS)
    finished: dict[int, int] = {}
    [(gone,)] = direct.execute(FIRST).fetchall()
    while sum(finished.values()) < gone + RECORDS:
        for one in await consumer.fetch(500, 1.0):
            finished[one.partition] = one.offset + 1
    await consumer.commit({partition: Commit(offset=offset) for partition, offset in finished.items()})
    while direct.execute(FIRST).fetchall() != [(gone + RECORDS,)]:
        await asyncio.sleep(0.02)


async def test_a_table_of_records_that_come_and_go_stays_as_large_as_it_is(
    queue: Queue, producer: Producer, database: PostgresqlDatabase, postgresql_url: str
) -> None:
    retention = Retention(stream=STREAM, keep_ms=0, every_s=0.01)
    consumer = SqlConsumer(database, STREAM, "group", session_s=5, retention=retention)
    await consumer.start(Follower())
    sizes: list[int] = []

    with psycopg.connect(postgresql_url, autocommit=True) as direct:
        for _ in range(ROUNDS):
            await _pass(producer, consumer, direct)
            # As autovacuum does in its time, by the settings of the next test.
            direct.execute("VACUUM forebay_record")
            sizes.append(direct.execute(SIZE, ("forebay_record",)).fetchall()[0][0])
    await consumer.close()

    assert sizes[-1] <= 1.2 * sizes[1], sizes


async def test_rows_that_are_changed_again_and_again_need_no_vacuum(
    queue: Queue, producer: Producer, database: PostgresqlDatabase, postgresql_url: str
) -> None:
    consumer = SqlConsumer(database, STREAM, "group", session_s=5, retention=Retention(stream=STREAM, keep_ms=10**12))
    await consumer.start(follower := Follower())
    await follower.owns(PARTITIONS)
    with psycopg.connect(postgresql_url, autocommit=True) as direct:
        for table in ("forebay_partition", "forebay_claim"):
            direct.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")

        for number in range(2_000):
            position = await producer.send(STREAM, record(number))
            if number % 4 == 0:
                await consumer.commit({position.partition: Commit(offset=position.offset, note=b"%d" % number)})

        sizes = [direct.execute(SIZE, (table,)).fetchall()[0][0] for table in ("forebay_partition", "forebay_claim")]
    await consumer.close()

    # A page or two of the table, two of its index, and a map of what is free.
    assert max(sizes) <= 100_000, sizes


async def test_a_partition_that_records_are_put_into_is_not_changed(
    queue: Queue, producer: Producer, postgresql_url: str
) -> None:
    """Or a version a batch would be left while a transaction is open, and each batch would go through all of them."""
    with psycopg.connect(postgresql_url) as backup, psycopg.connect(postgresql_url, autocommit=True) as direct:
        backup.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        backup.execute("SELECT count(*) FROM forebay_partition")
        before = direct.execute(SIZE, ("forebay_partition",)).fetchall()

        for number in range(1_000):
            await producer.send(STREAM, record(number))

        assert direct.execute(SIZE, ("forebay_partition",)).fetchall() == before
        assert direct.execute("SELECT count(DISTINCT ctid) FROM forebay_partition").fetchall() == [(2 * PARTITIONS,)]


def test_vacuum_is_told_to_come_often_enough(queue: Queue, postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url) as direct:
        found: dict[str, list[str]] = dict(
            direct.execute("SELECT relname, reloptions FROM pg_class WHERE relname LIKE 'forebay%'").fetchall()
        )

    assert "autovacuum_vacuum_scale_factor=0.02" in found["forebay_record"]
    for table in ("forebay_partition", "forebay_claim", "forebay_member", "forebay_meta"):
        assert {"fillfactor=20", "autovacuum_vacuum_scale_factor=0"} <= set(found[table])
