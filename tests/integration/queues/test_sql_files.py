"""The SQL queue's file: private, synced, and with clear answers when SQLite fails."""

import asyncio
import os
import resource
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

import pytest

from forebay.queues.contract import Producer, Queue
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.findings import Needs
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.queues.sql.consumer import SqlConsumer
from forebay.queues.sql.database import Place, Row
from forebay.queues.sql.producer import SqlProducer
from forebay.queues.sql.sqlite import database as sqlite
from forebay.queues.sql.sqlite.database import SqliteDatabase
from tests.integration.queues.members import KEEP_EVERYTHING, PARTITIONS, STREAM, Follower, fill, record

NEEDS = Needs(streams={STREAM: frozenset()}, partitions=PARTITIONS, events=STREAM)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/queue.db"


async def test_commits_are_synced_and_files_are_private(
    queue: Queue, producer: Producer, database: SqliteDatabase, tmp_path: Path
) -> None:
    await producer.send(STREAM, record(1))

    with closing(database.connect()) as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in os.listdir(tmp_path)}
    assert modes == dict.fromkeys(["queue.db", "queue.db-wal", "queue.db-shm", "queue.db.lock"], 0o600)


async def test_a_fresh_data_directory_is_private(tmp_path: Path) -> None:
    queue = open_queue(QueueSettings(data_dir=tmp_path / "deep" / "data"))

    await queue.ensure([STREAM], PARTITIONS)

    assert stat.S_IMODE((tmp_path / "deep" / "data").stat().st_mode) == 0o700


async def test_a_path_with_a_slash_too_many_is_that_path(tmp_path: Path) -> None:
    """As of a variable that begins with one, put behind another."""
    queue = open_queue(QueueSettings(queue_url=f"sqlite:////{tmp_path}/queue.db"))

    assert f"database /{tmp_path}/queue.db" in await queue.ensure([STREAM], PARTITIONS)
    assert (tmp_path / "queue.db").exists()


async def test_a_locked_file_refuses_the_batch_and_then_takes_the_next(queue: Queue, database: SqliteDatabase) -> None:
    producer = SqlProducer(database)
    await producer.send(STREAM, record(0))

    with closing(sqlite3.connect(database.name, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(QueueUnavailable, match="locked; another program"):
            await producer.check()
        refused = await asyncio.gather(*(producer.send(STREAM, record(n)) for n in (1, 2)), return_exceptions=True)
    position = await producer.send(STREAM, record(3))
    await producer.close()

    assert [type(outcome) for outcome in refused] == [QueueUnavailable] * 2
    assert position.offset == 1


async def test_a_program_that_keeps_everybody_from_writing_is_found(queue: Queue, database: SqliteDatabase) -> None:
    with (
        closing(database.connect()) as connection,
        closing(sqlite3.connect(database.name, isolation_level=None)) as foreign,
    ):
        free = {one.check: one for one in database.findings(connection, NEEDS)}
        foreign.execute("BEGIN IMMEDIATE")
        locked = {one.check: one for one in database.findings(connection, NEEDS)}
        foreign.execute("ROLLBACK")
        again = {one.check: one for one in database.findings(connection, NEEDS)}

    assert [found["queue lock"].state for found in (free, locked, again)] == ["ok", "fail", "ok"]
    assert f"fuser {database.name}" in locked["queue lock"].remedy


async def test_a_consumer_can_be_closed_while_the_file_is_locked(database: SqliteDatabase) -> None:
    consumer, follower = SqlConsumer(database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)

    with closing(sqlite3.connect(database.name, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        await consumer.close()

    assert follower.told == ["assigned"] * PARTITIONS + ["revoked"] * PARTITIONS


async def test_who_lost_everything_as_the_file_is_locked_says_so_until_it_is_free(database: SqliteDatabase) -> None:
    consumer, follower = SqlConsumer(database, STREAM, "group", session_s=1.0, retention=KEEP_EVERYTHING), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)

    with closing(sqlite3.connect(database.name, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        await follower.owns(0)
        with pytest.raises(QueueUnavailable, match="locked; another program"):
            async with asyncio.timeout(30):
                while True:
                    await consumer.fetch(1, 0.01)
    await follower.owns(PARTITIONS)

    assert await consumer.fetch(1, 0) == []
    await consumer.close()


async def test_a_start_that_was_cancelled_leaves_nothing_behind(database: SqliteDatabase) -> None:
    given_up = SqlConsumer(database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING)
    starting = asyncio.create_task(given_up.start(Follower()))
    while not starting.done() and not _has_member(database):
        await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait([starting])
    await given_up.close()

    consumer, follower = SqlConsumer(database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING), Follower()
    await consumer.start(follower)

    await follower.owns(PARTITIONS)
    await consumer.close()


def _has_member(database: SqliteDatabase) -> bool:
    with closing(sqlite3.connect(database.name)) as direct:
        return bool(direct.execute("SELECT 1 FROM forebay_member").fetchall())


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """As where there is little room for temporary files: a container has some for itself, or none."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_reading_takes_no_room_for_all_that_waits(producer: Producer, database: SqliteDatabase) -> None:
    await fill(producer, {0: [900_000] * 10})

    with closing(database.connect()) as connection, no_file_larger_than(1_000_000):
        found = database.read(connection, Place(1, 0), 0, 10, 1_800_001)

    assert [(row.offset, len(row.value)) for row in found] == [(0, 900_000), (1, 900_000), (2, 900_000)]


async def test_the_log_gives_back_what_a_long_reader_made_it_take(
    queue: Queue, database: SqliteDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_LOG_BYTES", 1_000_000)
    producer, log = SqlProducer(database), tmp_path / "queue.db-wal"
    with closing(sqlite3.connect(database.name, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM forebay_meta").fetchall()
        await fill(producer, {0: [500_000] * 10})
        held, found = log.stat().st_size, [one async for one in queue.diagnose(NEEDS)]
        reader.execute("COMMIT")
        for _ in range(3):
            await producer.check()

        assert held > 5_000_000
        assert log.stat().st_size <= 1_000_000
    await producer.close()
    assert {one.check: one.state for one in found}["queue log"] == "warn"


async def test_an_older_sqlite_takes_a_full_batch(producer: Producer, database: SqliteDatabase) -> None:
    rows = [Row(1, 0, offset, 0, "portal", b"", b"") for offset in range(1024)]

    with closing(database.connect()) as connection, database.writing(connection):
        opened = cast("sqlite3.Connection", connection.connection.dbapi_connection)
        opened.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
        database.append(connection, rows)

    with closing(database.connect()) as connection:
        assert database.read(connection, Place(1, 0), 0, 2000, 1) == rows


async def test_an_sqlite_that_is_too_old_is_found(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {one.check: one.state async for one in queue.diagnose(NEEDS)}
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.22.0")
    in_old_one = {one.check: one.state async for one in queue.diagnose(NEEDS)}

    assert (found["queue version"], in_old_one["queue version"]) == ("ok", "warn")


async def test_a_queue_that_was_not_made_says_how_to_make_it(tmp_path: Path) -> None:
    queue = open_queue(QueueSettings(data_dir=tmp_path))
    producer, consumer, inspector = queue.producer(), queue.consumer(STREAM, "group"), queue.inspector()

    for call in (producer.send(STREAM, record(1)), consumer.start(Follower()), inspector.bounds(STREAM)):
        with pytest.raises(QueueUnavailable, match="forebay topics ensure"):
            await call
    (tmp_path / "queue.db").touch()
    with pytest.raises(QueueUnavailable, match="forebay topics ensure"):
        await producer.send(STREAM, record(1))

    assert len(await queue.missing([STREAM], PARTITIONS)) > 1
    for part in (producer, consumer, inspector, queue):
        await part.close()


async def test_what_is_missing_is_told_without_making_a_file(tmp_path: Path) -> None:
    queue = open_queue(QueueSettings(data_dir=tmp_path / "data"))

    missing = await queue.missing([STREAM], PARTITIONS)

    assert missing[0].endswith("queue.db")
    assert missing[-1] == "stream events with 4 partitions"
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files that the service may not open")
async def test_what_root_makes_belongs_to_whoever_the_folder_belongs_to(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, 1234)
    data_dir = tmp_path / "data"
    queue = open_queue(QueueSettings(data_dir=data_dir))

    await queue.ensure([STREAM], PARTITIONS)
    (data_dir / "queue.db.lock").unlink()
    producer = queue.producer()
    await producer.send(STREAM, record(1))
    owners = {path.name: path.stat().st_uid for path in (data_dir, *data_dir.iterdir())}
    await producer.close()

    assert owners == dict.fromkeys(("data", "queue.db", "queue.db-wal", "queue.db-shm", "queue.db.lock"), 1234)


async def test_tables_of_a_newer_forebay_are_left_alone(queue: Queue, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "queue.db")) as direct, direct:
        direct.execute("UPDATE forebay_meta SET value = 99 WHERE name = 'version'")
    producer = queue.producer()

    for number in range(2):
        with pytest.raises(QueueError, match="newer Forebay"):
            await producer.send(STREAM, record(number))
    with pytest.raises(QueueError, match="newer Forebay"):
        await queue.ensure(["more"], PARTITIONS)

    await producer.close()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "queue.db").write_bytes(b"no database " * 100)
    queue = open_queue(QueueSettings(data_dir=tmp_path))

    with pytest.raises(QueueUnavailable, match=r"queue\.db.*not a database"):
        await queue.ensure([STREAM], PARTITIONS)


async def test_a_directory_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    queue = open_queue(QueueSettings(data_dir=tmp_path / "file"))

    with pytest.raises(QueueUnavailable, match="data_dir"):
        await queue.ensure([STREAM], PARTITIONS)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(QueueError, match="names no file"):
        open_queue(QueueSettings(queue_url=url))
