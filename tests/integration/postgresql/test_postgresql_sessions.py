"""What a session of ours rests on, however server, database and user were set; and streams that were made anew."""

from contextlib import closing
from typing import LiteralString

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from forebay.queues.contract import Producer, Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.sql.postgresql.database import PostgresqlDatabase
from forebay.queues.sql.tables import metadata
from tests.integration.queues.members import PARTITIONS, STREAM, record


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
