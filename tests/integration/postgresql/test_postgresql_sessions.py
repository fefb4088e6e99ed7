"""What a session of ours rests on, however server, database and user were set; and whose turn it is in one."""

import threading
import time
from contextlib import closing
from typing import LiteralString

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import select

from forebay.queues.contract import Producer, Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.sql.consumer import SqlConsumer
from forebay.queues.sql.postgresql.database import PostgresqlDatabase
from forebay.queues.sql.tables import claim, metadata
from tests.integration.queues.members import KEEP_EVERYTHING, PARTITIONS, STREAM, Follower, record

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()"


def _shown(database: PostgresqlDatabase, setting: LiteralString) -> object:
    with closing(database.connect()) as connection:
        return connection.exec_driver_sql(f"SHOW {setting}").scalar()


def _set_for_all(url: str, setting: LiteralString, value: LiteralString) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        name = Identifier(admin.info.dbname)
        admin.execute(SQL("ALTER DATABASE {} SET {} = {}").format(name, SQL(setting), value))


@pytest.mark.parametrize(("given", "used"), [("off", "on"), ("remote_apply", "remote_apply"), ("local", "local")])
def test_a_commit_waits_for_the_disk_at_least(
    database: PostgresqlDatabase, postgresql_url: str, given: LiteralString, used: str
) -> None:
    _set_for_all(postgresql_url, "synchronous_commit", given)

    assert _shown(database, "synchronous_commit") == used


def test_each_statement_sees_what_is_committed_by_then(database: PostgresqlDatabase, postgresql_url: str) -> None:
    _set_for_all(postgresql_url, "default_transaction_isolation", "serializable")

    assert _shown(database, "default_transaction_isolation") == "read committed"


async def test_leases_go_by_the_clock_of_the_server(
    database: PostgresqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    consumer = SqlConsumer(database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING)
    await consumer.start(follower := Follower())
    await follower.owns(PARTITIONS)

    with closing(database.connect()) as direct:
        until = direct.execute(select(claim.c.expires_at)).scalars().all()
        now_ms = int(direct.exec_driver_sql("SELECT extract(epoch FROM now()) * 1000").scalar_one())
    await consumer.close()

    # Taken a moment before.
    assert all(now_ms < moment <= now_ms + 3_600_000 for moment in until)


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [
        ({"alone": "a"}, {"alone": "a"}, True),
        ({"alone": "a"}, {"beside": "a"}, True),
        ({"beside": "a"}, {"alone": "a"}, True),
        ({"beside": "a"}, {"beside": "a"}, False),
        ({"alone": "a"}, {"alone": "b"}, False),
    ],
)
def test_turns_are_taken_by_name(
    database: PostgresqlDatabase, postgresql_url: str, first: dict[str, str], second: dict[str, str], waits: bool
) -> None:
    entered = threading.Event()

    def enter() -> None:
        with closing(database.connect()) as connection, database.writing(connection, **second):
            entered.set()

    other = threading.Thread(target=enter)
    with closing(database.connect()) as connection, database.writing(connection, **first):
        other.start()
        if waits:
            _until_one_waits(postgresql_url)
            assert not entered.is_set()
        else:
            entered.wait()
    other.join()

    assert entered.is_set()


def _until_one_waits(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as watching:
        while watching.execute(WAITING).fetchall() == [(0,)]:
            time.sleep(0.01)


async def test_members_of_a_group_take_their_turns_in_its_name(
    queue: Queue, database: PostgresqlDatabase, postgresql_url: str
) -> None:
    with closing(database.connect()) as connection:
        consumer = SqlConsumer(database, STREAM, "group", session_s=0.9, retention=KEEP_EVERYTHING)
        await consumer.start(Follower())
        with database.writing(connection, alone=consumer._claims.name):
            # Its next heartbeat stands behind us.
            _until_one_waits(postgresql_url)
        await consumer.close()


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
