"""What an administrator may put between us and our rows: policies, triggers, a schema that is looked at before ours."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from forebay.queues.contract import Producer, Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.queues.sql.postgresql.database import PostgresqlDatabase
from tests.databases.console import Command
from tests.integration.queues.members import STREAM, Follower, record, send_all
from tests.integration.queues.stage import read_all
from tests.integration.sql_servers.systems import SYSTEMS


def _ask(url: str, *statements: LiteralString) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        for statement in statements:
            admin.execute(sql.SQL(statement))


@contextmanager
def _another_user(url: str) -> Iterator[str]:
    """The URL of a user who may do all that a worker does, and owns nothing."""
    parts = urlsplit(url)
    name = f"user_{parts.path.removeprefix('/forebay_')[:8]}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'hush'").format(sql.Identifier(name)))
        for rights in (
            "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public",
            "USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA public",
        ):
            admin.execute(sql.SQL("GRANT {} TO {}").format(sql.SQL(rights), sql.Identifier(name)))
        try:
            yield urlunsplit(parts._replace(netloc=f"{name}:hush@{parts.netloc.rpartition('@')[2]}"))
        finally:
            admin.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(name)))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


async def test_rows_that_a_policy_hides_are_told_and_not_waited_for(producer: Producer, postgresql_url: str) -> None:
    await send_all(producer, 1)
    _ask(
        postgresql_url,
        "ALTER TABLE forebay_record ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY written ON forebay_record FOR INSERT WITH CHECK (true)",
    )

    with _another_user(postgresql_url) as url:
        theirs = open_queue(QueueSettings(queue_url=url))
        writing, consumer = theirs.producer(), theirs.consumer(STREAM, "group")
        with pytest.raises(QueueUnavailable, match="BYPASSRLS"):
            await writing.send(STREAM, record(1))
        with pytest.raises(QueueUnavailable, match="BYPASSRLS"):
            await consumer.start(Follower())
        await writing.close()
        await consumer.close()


def test_tables_with_a_policy_are_found(postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Command(postgresql_url).run("topics", "ensure")
    _ask(postgresql_url, "ALTER TABLE forebay_record ENABLE ROW LEVEL SECURITY")

    with _another_user(postgresql_url) as url:
        found = Command(url).findings(status=1)

    assert found["queue rights"]["state"] == "fail"
    assert found["queue rights"]["detail"].endswith(": forebay_record")


def test_tables_in_a_schema_that_others_find_first_are_found(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Command(postgresql_url).run("topics", "ensure")
    _ask(postgresql_url, "CREATE SCHEMA theirs")
    forebay = Command(f"{postgresql_url}?options=-csearch_path%3Dtheirs")

    before = forebay.findings()
    forebay.run("topics", "ensure")
    apart = forebay.findings()

    assert [found["queue schema"]["state"] for found in (before, apart)] == ["warn", "warn"]
    assert "in no schema of its search_path, and there are others in public" in before["queue schema"]["detail"]
    assert "in theirs, and there are others in public" in apart["queue schema"]["detail"]


#: As an old way of partitioning does, or somebody who wants to be rid of some events.
LEAVES_OUT = """
CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER leave_out BEFORE INSERT ON forebay_record
FOR EACH ROW WHEN (new.value = '1') EXECUTE FUNCTION leave_out()
"""


@pytest.mark.parametrize(
    "statement",
    [LEAVES_OUT, "CREATE RULE leave_out AS ON INSERT TO forebay_record WHERE new.value = '1' DO INSTEAD NOTHING"],
    ids=["trigger", "rule"],
)
async def test_what_somebody_has_left_out_is_not_told_as_kept(
    queue: Queue, producer: Producer, postgresql_url: str, statement: LiteralString
) -> None:
    _ask(postgresql_url, statement)
    await producer.send(STREAM, record(0))

    with pytest.raises(QueueUnavailable, match="a trigger or a rule"):
        await producer.send(STREAM, record(1))

    await producer.send(STREAM, record(2))
    assert [one.value for one in await read_all(queue)] == [b"0", b"2"]


async def test_users_who_look_at_schemas_in_another_order_take_the_same_turns(
    queue: Queue, database: PostgresqlDatabase, postgresql_url: str
) -> None:
    system, entered = SYSTEMS["postgresql"], threading.Event()
    with _another_user(postgresql_url) as url:
        _ask(postgresql_url, "CREATE SCHEMA theirs")
        other = PostgresqlDatabase(f"{url}?options=-csearch_path%3Dtheirs,public")
        _ask(postgresql_url, "GRANT USAGE ON SCHEMA theirs TO PUBLIC")

        def enter() -> None:
            with closing(other.connect()) as connection, other.writing(connection, alone="group"):
                entered.set()

        entering = threading.Thread(target=enter)
        with closing(database.connect()) as connection, database.writing(connection, alone="group"):
            entering.start()
            with system.client(postgresql_url) as watching:
                while not (waiting := system.waiting(watching)) and not entered.is_set():
                    pass
        entering.join()

    assert waiting
