"""What a session rests on, however server, database and user were set; streams and sequences that were made anew."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from typing import LiteralString

import psycopg
import pytest
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from forebay.queues.contract import Position, Producer, Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.portals.contract import Fact
from forebay.queues.settings import QueueSettings
from forebay.queues.sql.postgresql.database import PostgresqlDatabase
from forebay.queues.sql.tables import metadata
from tests.integration.queues.members import PARTITIONS, STREAM, record, send_all
from tests.integration.queues.stage import read_all
from tests.postgresql.server import Server


def _shown(database: PostgresqlDatabase, setting: LiteralString) -> object:
    with closing(database.connect()) as connection:
        return connection.exec_driver_sql(f"SHOW {setting}").scalar()


def _set_for_all(url: str, setting: LiteralString, value: LiteralString) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        name = Identifier(admin.info.dbname)
        admin.execute(SQL("ALTER DATABASE {} SET {} = {}").format(name, SQL(setting), SQL(value)))


@pytest.mark.parametrize(("given", "used"), [("off", "on"), ("remote_apply", "remote_apply"), ("local", "local")])
def test_a_commit_waits_for_the_disk_at_least(
    database: PostgresqlDatabase, postgresql_url: str, given: LiteralString, used: str
) -> None:
    _set_for_all(postgresql_url, "synchronous_commit", given)

    assert _shown(database, "synchronous_commit") == used


def test_a_server_that_is_set_otherwise_meanwhile_changes_no_commit(postgresql_servers: Callable[..., Server]) -> None:
    server = postgresql_servers()
    database = PostgresqlDatabase(server.url())
    with closing(database.connect()) as connection:
        _set_server(server, "synchronous_commit = off")

        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


async def test_a_commit_is_kept_when_the_standby_has_it_although_somebody_cut_off_the_wait(
    postgresql_servers: Callable[..., Server],
) -> None:
    server = postgresql_servers()
    queue = open_queue(QueueSettings(queue_url=server.url()))
    await queue.ensure([STREAM], PARTITIONS)
    producer = queue.producer()
    await producer.send(STREAM, record(0))

    _set_server(server, "synchronous_standby_names = 'nobody'")
    sending = asyncio.create_task(producer.send(STREAM, record(1)))
    waiting = await _waiting_for_standby(server, sending)
    # Of the event's own COMMIT, and of the one of who asks what became of it.
    for _ in range(2):
        cut_off = waiting
        assert cut_off is not None
        with psycopg.connect(server.url(), autocommit=True) as admin:
            admin.execute("SELECT pg_cancel_backend(%s)", (cut_off[0],))
        while (waiting := await _waiting_for_standby(server, sending)) == cut_off:
            pass
    _set_server(server, "synchronous_standby_names = ''")

    assert waiting is not None
    assert (await sending).offset == 1
    await producer.close()


def _set_server(server: Server, setting: LiteralString) -> None:
    """For all sessions, also those that are there."""
    with psycopg.connect(server.url(), autocommit=True) as admin:
        admin.execute(SQL("ALTER SYSTEM SET ") + SQL(setting))
        admin.execute("SELECT pg_reload_conf()")
        name, _, value = setting.partition(" = ")
        while admin.execute("SELECT current_setting(%s)", (name,)).fetchone() != (value.strip("'"),):
            pass


async def _waiting_for_standby(server: Server, sending: "asyncio.Task[Position]") -> tuple[int, datetime] | None:
    """The session that waits, and the beginning of its transaction; None when the event was told as kept before."""
    with psycopg.connect(server.url(), autocommit=True) as admin:
        while not sending.done():
            if found := admin.execute(
                "SELECT pid, xact_start FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            ).fetchone():
                return found
            await asyncio.sleep(0.01)
    return None


def test_each_statement_sees_what_is_committed_by_then(database: PostgresqlDatabase, postgresql_url: str) -> None:
    _set_for_all(postgresql_url, "default_transaction_isolation", "serializable")

    assert _shown(database, "default_transaction_isolation") == "read committed"


@pytest.mark.parametrize("setting", ["statement_timeout", "idle_session_timeout", "log_parameter_max_length_on_error"])
def test_what_is_set_for_people_is_not_for_us(
    database: PostgresqlDatabase, postgresql_url: str, setting: LiteralString
) -> None:
    _set_for_all(postgresql_url, setting, "1000")

    assert _shown(database, setting) == "0"


async def test_streams_are_looked_up_anew_when_their_tables_were_made_anew(
    queue: Queue, producer: Producer, database: PostgresqlDatabase
) -> None:
    await producer.send(STREAM, record(0))
    with closing(database.connect()) as direct, database.writing(direct):
        metadata.drop_all(direct)
        for number in range(PARTITIONS):
            direct.exec_driver_sql(f"DROP SEQUENCE forebay_offset_1_{number}, forebay_offset_2_{number}")
    await queue.ensure([f"other{number}" for number in range(3)], 1)
    await queue.ensure([STREAM], 1)

    with pytest.raises(QueueUnavailable, match="made anew"):
        await producer.send(STREAM, record(1))
    position = await producer.send(STREAM, record(2))

    assert (position.partition, position.offset) == (0, 0)


@pytest.mark.parametrize("swept", [(), ("DELETE FROM forebay_record", "UPDATE forebay_partition SET first_offset = 3")])
async def test_events_come_behind_the_finished_ones_where_sequences_were_not_taken_along(
    queue: Queue, producer: Producer, postgresql_url: str, swept: tuple[LiteralString, ...]
) -> None:
    partition = await send_all(producer, 3)
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        for statement in swept:
            admin.execute(statement)
        _restart(admin, f"forebay_offset_1_{partition}")

    position = await producer.send(STREAM, record(3))

    assert position.offset == 3


async def test_facts_about_portals_come_behind_the_others_where_sequences_were_not_taken_along(
    queue: Queue, postgresql_url: str
) -> None:
    store = queue.portals(STREAM)
    await store.ensure()
    last = await store.put([Fact("a", b"1"), Fact("b", b"2")])
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        _restart(admin, "forebay_offset_3_0")

    assert await store.put([Fact("a", b"3")]) == last + 1

    await store.close()


async def test_counters_that_were_not_taken_along_are_missing_until_they_are_made(
    queue: Queue, producer: Producer, postgresql_url: str
) -> None:
    partition = await send_all(producer, 3)
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        admin.execute(SQL("DROP SEQUENCE {}").format(Identifier(f"forebay_offset_1_{partition}")))
    with pytest.raises(QueueUnavailable, match="forebay topics ensure"):
        await producer.send(STREAM, record(3))

    missing = await queue.missing([STREAM, "another"], PARTITIONS)
    made = await queue.ensure([STREAM, "another"], PARTITIONS)

    assert missing == made == [f"counters of stream {STREAM}"]
    assert (await producer.send(STREAM, record(3))).offset == 3


async def test_counters_stand_beside_the_tables_whatever_search_path_made_them(
    queue: Queue, postgresql_url: str
) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA another")
    _set_for_all(postgresql_url, "search_path", "another,public")

    await queue.ensure(["later"], 1)
    _set_for_all(postgresql_url, "search_path", "public")
    producer = queue.producer()

    assert (await producer.send("later", record(0))).offset == 0
    await producer.close()


async def test_a_stream_is_made_behind_those_that_came_from_another_server(queue: Queue, postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        _restart(admin, "forebay_stream_id_seq")

    assert await queue.ensure(["later"], 1) == ["stream later with 1 partitions"]


#: The first batch is undone as one that waits for somebody who waits for it: who of both is, depends on the clock.
DEADLOCK_ONCE = """
CREATE SEQUENCE tried;
CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('tried') = 1 THEN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = 'deadlock_detected'; END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER undo AFTER INSERT ON forebay_record FOR EACH STATEMENT EXECUTE FUNCTION undo()
"""


async def test_a_batch_that_was_undone_by_a_deadlock_is_written_all_the_same(
    queue: Queue, producer: Producer, postgresql_url: str
) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        admin.execute(DEADLOCK_ONCE)

    await producer.send(STREAM, record(0))

    assert [one.value for one in await read_all(queue)] == [b"0"]


def _restart(admin: "psycopg.Connection[TupleRow]", sequence: str) -> None:
    """As it stands on a server that logical replication has filled."""
    admin.execute(SQL("ALTER SEQUENCE {} RESTART").format(Identifier(sequence)))
