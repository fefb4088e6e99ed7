"""What a session of ours rests on, however the server was set; and transactions that are undone for others' sake."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import pymysql
import pytest

from forebay.queues.contract import Producer, Queue, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.queues.sql.database import TABLES, Undecided
from forebay.queues.sql.mariadb import turns
from forebay.queues.sql.mariadb.asking import execute
from forebay.queues.sql.mariadb.database import MariadbDatabase
from forebay.queues.threads.undone import Undone
from forebay.schemas.portal import partition_of
from tests.integration.queues.members import PARTITIONS, STREAM, record
from tests.integration.queues.stage import read_all
from tests.integration.sql_servers.systems import SYSTEMS
from tests.mariadb.server import Server, asked, direct

LOCK = "SELECT 1 FROM forebay_partition WHERE stream = 1 AND `partition` = {} FOR UPDATE"

#: As no server should be set, and some are.
STRANGE = (
    "sql-mode=ANSI_QUOTES",
    "transaction-isolation=SERIALIZABLE",
    "default-time-zone=+05:30",
    "character-set-server=latin1",
    "max-statement-time=1",
    "completion-type=RELEASE",
    "max-join-size=2",
)


async def test_a_server_that_is_set_strangely_is_used_as_any_other(mariadb_servers: Callable[..., Server]) -> None:
    url = mariadb_servers(*STRANGE).url()
    with closing(direct(url)) as admin:
        # The one that can't be given at the start.
        asked(admin, "SET GLOBAL sql_select_limit = 2")
    queue = open_queue(QueueSettings(queue_url=url))
    await queue.ensure([STREAM], PARTITIONS)
    producer = queue.producer()

    await producer.send(STREAM, Record(key="портал", value=b"'\\\0\xff", timestamp_ms=0, headers=(("ж", b'"'),)))
    await producer.close()

    [found] = await read_all(queue)
    assert (found.key, found.value, found.headers) == ("портал", b"'\\\0\xff", (("ж", b'"'),))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("tx_isolation", "READ-COMMITTED"),
        ("time_zone", "+00:00"),
        ("sql_mode", "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"),
        ("idle_transaction_timeout", 2),
        ("innodb_lock_wait_timeout", 5),
        ("character_set_client", "utf8mb4"),
    ],
)
def test_a_session_has_what_we_rest_on(database: MariadbDatabase, setting: str, value: object) -> None:
    with closing(database.connect()) as connection:
        assert connection.exec_driver_sql(f"SELECT @@{setting}").scalar() == value


async def test_a_batch_that_was_undone_by_a_deadlock_is_written_all_the_same(
    queue: Queue, producer: Producer, mariadb_url: str
) -> None:
    system = SYSTEMS["mariadb"]
    keys = {partition_of(str(number), PARTITIONS): str(number) for number in range(100)}
    await producer.send(STREAM, record(0))
    with system.client(mariadb_url) as other, system.client(mariadb_url) as watching:
        other.ask("BEGIN")
        # Who has changed more is spared.
        other.ask("INSERT INTO forebay_meta SELECT seq, 0 FROM seq_1_to_20")
        other.ask(LOCK.format(1))
        sending = asyncio.gather(
            *(producer.send(STREAM, Record(key=keys[number], value=b"", timestamp_ms=1)) for number in (0, 1))
        )
        while not system.waiting(watching):
            await asyncio.sleep(0.15)
        await asyncio.to_thread(other.ask, LOCK.format(0))
        [(deadlocks,)] = watching.ask(
            "SELECT count FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'"
        )
        other.ask("ROLLBACK")
        positions = await sending

    assert deadlocks
    assert sorted(position.partition for position in positions) == [0, 1]
    assert len(await read_all(queue)) == 3


async def test_a_session_that_the_server_has_closed_meanwhile_costs_nothing(
    mariadb_servers: Callable[..., Server],
) -> None:
    server = mariadb_servers()
    with closing(direct(server.url())) as admin:
        asked(admin, "SET GLOBAL wait_timeout = 1")
        queue = open_queue(QueueSettings(queue_url=server.url()))
        await queue.ensure([STREAM], PARTITIONS)
        producer, inspector = queue.producer(), queue.inspector()
        await producer.send(STREAM, record(0))
        await inspector.bounds(STREAM)
        while asked(admin, "SELECT count(*) FROM information_schema.processlist WHERE user = 'forebay'") != [(1,)]:
            await asyncio.sleep(0.05)

        await producer.send(STREAM, record(1))
        bounds = await inspector.bounds(STREAM)

    assert sum(one.end for one in bounds.values()) == 2
    for part in (producer, inspector, queue):
        await part.close()


def test_a_member_that_freezes_behind_its_commit_keeps_nobody_from_their_turn(queue: Queue, mariadb_url: str) -> None:
    frozen, others = MariadbDatabase(mariadb_url), MariadbDatabase(mariadb_url, lock_s=1)
    committed, thawed = threading.Event(), threading.Event()
    commit = frozen._turns._commit

    def freeze(client: Any) -> None:
        commit(client)
        committed.set()
        thawed.wait()

    frozen._turns._commit = freeze  # type: ignore[method-assign]

    def take_a_turn() -> None:
        with closing(frozen.connect()) as connection, frozen.writing(connection, alone="the group"):
            pass

    member = threading.Thread(target=take_a_turn)
    member.start()
    committed.wait()
    try:
        with closing(others.connect()) as connection, others.writing(connection, alone="the group"):
            pass
    finally:
        thawed.set()
        member.join()


def test_who_freezes_while_tables_are_made_is_thrown_out(queue: Queue, mariadb_url: str) -> None:
    database = MariadbDatabase(mariadb_url, lock_s=1)
    frozen = database.connect()
    with database._turns._session_lock(frozen.connection.dbapi_connection, TABLES):
        for _ in range(10):
            with (
                suppress(Undone),
                closing(database.connect()) as connection,
                database.writing(connection, alone=TABLES),
            ):
                break
        else:
            pytest.fail("nobody else could make tables")
    frozen.invalidate()
    frozen.close()


@pytest.mark.parametrize(
    ("code", "told", "goes_on"), [(1213, Undone, True), (1180, Undecided, False)], ids=["deadlock", "error"]
)
def test_a_session_whose_commit_failed_is_gone_on_with_only_where_it_was_undone(
    database: MariadbDatabase, monkeypatch: pytest.MonkeyPatch, code: int, told: type[Exception], goes_on: bool
) -> None:
    """The next BEGIN would commit what nobody has decided. A cluster tells at its COMMIT who has lost to another."""

    def refused(client: Any, statement: str, *values: Any) -> Any:
        if statement == "COMMIT":
            raise pymysql.OperationalError(code, "refused")
        return execute(client, statement, *values)

    monkeypatch.setattr(turns, "execute", refused)
    with closing(database.connect()) as connection:
        with pytest.raises(QueueUnavailable) as raised, database.writing(connection):
            database.take_offsets(connection, {})

        assert type(raised.value) is told
        assert database.current(connection) is goes_on
        connection.invalidate()
