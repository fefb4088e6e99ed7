"""The SQL queue's file is deleted or replaced while it is open: nothing is acknowledged that is not in the new one."""

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from forebay.queues.contract import Producer, Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.sql.consumer import SqlConsumer
from forebay.queues.sql.sqlite.database import SqliteDatabase
from tests.integration.queues.members import KEEP_EVERYTHING, PARTITIONS, STREAM, Follower, fetch, record

#: Heartbeats find the new file, three times in it. A machine that stands still for a moment costs nobody a partition.
SESSION_S = 3.0

PASSER_BY = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT * FROM forebay_meta").fetchall()
connection.close()
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/queue.db"


def delete_files(folder: Path) -> None:
    for file in folder.glob("queue.db*"):
        file.unlink()


def values(folder: Path) -> list[bytes]:
    """What stands in the file at the path, whoever has which file open."""
    with closing(sqlite3.connect(folder / "queue.db")) as direct:
        return [row[0] for row in direct.execute("SELECT value FROM forebay_record")]


async def test_only_what_is_in_the_new_file_is_acknowledged(queue: Queue, producer: Producer, tmp_path: Path) -> None:
    await producer.send(STREAM, record(0))

    delete_files(tmp_path)
    with pytest.raises(QueueUnavailable, match="forebay topics ensure"):
        await producer.send(STREAM, record(1))
    with pytest.raises(QueueUnavailable, match="forebay topics ensure"):
        await producer.check()
    await queue.ensure([STREAM], PARTITIONS)
    position = await producer.send(STREAM, record(2))

    assert position.offset == 0
    assert values(tmp_path) == [b"2"]


@pytest.mark.parametrize("delete", [delete_files, shutil.rmtree], ids=["files", "folder"])
async def test_streams_are_looked_up_anew_in_a_new_file(
    queue: Queue, producer: Producer, tmp_path: Path, delete: Callable[[Path], None]
) -> None:
    await producer.send(STREAM, record(0))
    inspector = queue.inspector()
    await inspector.bounds(STREAM)

    delete(tmp_path)
    await queue.ensure(["another", STREAM], 1)
    position = await producer.send(STREAM, record(1))

    assert (await inspector.bounds(STREAM))[position.partition].end == 1
    assert (await inspector.bounds("another"))[0].end == 0
    await inspector.close()


def test_a_file_that_is_replaced_while_it_is_opened_is_none_to_write_to(
    queue: Queue, database: SqliteDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = SqliteDatabase._prepare

    def replaced(self: SqliteDatabase, opened: sqlite3.Connection) -> None:
        opening(self, opened)
        shutil.copy(tmp_path / "queue.db", tmp_path / "new.db")
        os.replace(tmp_path / "new.db", tmp_path / "queue.db")

    monkeypatch.setattr(SqliteDatabase, "_prepare", replaced)
    with closing(database.connect()) as connection:
        assert not database.current(connection)


def test_a_file_that_goes_during_the_transaction_fails_it(database: SqliteDatabase, tmp_path: Path) -> None:
    with (
        closing(database.connect()) as connection,
        pytest.raises(QueueUnavailable, match="deleted or replaced"),
        database.writing(connection),
    ):
        delete_files(tmp_path)
        database.create()


def test_a_writer_that_got_a_deleted_lock_takes_the_new_one(
    database: SqliteDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, flock = tmp_path / "queue.db.lock", fcntl.flock

    def flock_after_deletion(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        lock.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock_after_deletion)

    with (
        closing(database.connect()) as connection,
        database.writing(connection),
        lock.open() as other,
        pytest.raises(BlockingIOError),
    ):
        flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_process_that_is_forked_during_a_turn_does_not_keep_it(database: SqliteDatabase, tmp_path: Path) -> None:
    lock = tmp_path / "queue.db.lock"
    with closing(database.connect()) as connection, database.writing(connection):
        # As one of a handler's pool has it, which is forked and lives as long as its worker.
        held = [int(number) for number in os.listdir("/proc/self/fd") if _leads_to(number) == str(lock)]
        forked = subprocess.Popen(["sleep", "3600"], pass_fds=held)

    with forked, lock.open() as other:
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            forked.kill()
    assert len(held) == 1


def _leads_to(number: str) -> str:
    # The one by which they are listed is gone by now.
    return os.path.realpath(f"/proc/self/fd/{number}")


def _member(database: SqliteDatabase) -> tuple[SqlConsumer, Follower]:
    return SqlConsumer(database, STREAM, "group", session_s=SESSION_S, retention=KEEP_EVERYTHING), Follower()


async def test_a_consumer_goes_on_in_the_new_file(
    queue: Queue, producer: Producer, database: SqliteDatabase, tmp_path: Path
) -> None:
    consumer, follower = _member(database)
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    await producer.send(STREAM, record(0))
    await fetch(consumer, 1)

    delete_files(tmp_path)
    await queue.ensure([STREAM, "another"], PARTITIONS)
    await producer.send(STREAM, record(1))

    assert await fetch(consumer, 1) == [b"1"]
    # A record may come before the last partition is told of.
    await follower.owns(PARTITIONS)
    assert follower.told[PARTITIONS:] == ["lost"] * PARTITIONS + ["assigned"] * PARTITIONS
    await consumer.close()


async def test_a_consumer_lets_go_of_a_stream_that_was_made_anew_as_another(
    queue: Queue, database: SqliteDatabase, tmp_path: Path
) -> None:
    consumer, follower = _member(database)
    await consumer.start(follower)
    await follower.owns(PARTITIONS)

    delete_files(tmp_path)
    await queue.ensure([STREAM], PARTITIONS + 1)
    await follower.owns(0)

    assert follower.told == ["assigned"] * PARTITIONS + ["lost"] * PARTITIONS
    await consumer.close()


async def test_a_consumer_can_be_closed_when_the_file_is_gone(database: SqliteDatabase, tmp_path: Path) -> None:
    consumer, follower = SqlConsumer(database, STREAM, "group", session_s=3600, retention=KEEP_EVERYTHING), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)

    delete_files(tmp_path)
    await consumer.close()

    assert follower.told == ["assigned"] * PARTITIONS + ["revoked"] * PARTITIONS


async def test_ensuring_what_is_there_drops_no_lock_of_this_process(
    queue: Queue, producer: Producer, tmp_path: Path
) -> None:
    await producer.send(STREAM, record(0))
    log = os.stat(tmp_path / "queue.db-wal")

    await queue.ensure([STREAM], PARTITIONS)
    # Whoever finds no lock takes itself for the last one, and takes the log away with what others will write to it.
    subprocess.run([sys.executable, "-c", PASSER_BY, tmp_path / "queue.db"], check=True)

    assert os.path.samestat(log, os.stat(tmp_path / "queue.db-wal"))
