"""SQLite: one file, readers that don't wait, one writer at a time."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import cast
from urllib.parse import quote

import orjson
from sqlalchemy import Connection, NullPool, create_engine

from forebay.queues.errors import QueueUnavailable
from forebay.queues.findings import Finding, Needs
from forebay.queues.folders import make_folder
from forebay.queues.portals.contract import PlacedFact

from ..batches.records import MAX_RECORD_BYTES
from ..groups.bell import Bell
from .database import Place, Row, Watch

#: Seconds that SQLite waits when a program that is not ours (a shell, a backup) holds its lock.
_BUSY_S = 5.0

#: Rows of one INSERT at most: far below SQLite's 32,766 variables, and few distinct statements to prepare.
_INSERT_ROWS = 256

#: Seconds between two looks for new records: half of it is what a record waits on average.
_LOOK_EVERY_S = 0.01

#: Where a connection keeps which file it has open.
_FILE = "forebay_file"

# One step of a statement lets go of the GIL once, and while the event loop is busy the thread gets it back only after
# the switch interval (5 ms): a SELECT of 500 rows took 300 ms. So what is read or written in bulk crosses in one step:
# as one JSON text, or as one INSERT of many rows. Hex, since JSON has no bytes. (1,700 → 39,000 rows/s, measured.)
_WANTED = "json_extract(wanted.value, '$[0]') = p.stream AND json_extract(wanted.value, '$[1]') = p.\"partition\""
_ENDS = f"""
SELECT json_group_array(json_array(p.stream, p."partition", p.next_offset))
FROM json_each(?) AS wanted CROSS JOIN forebay_partition AS p WHERE {_WANTED}
"""  # noqa: S608 - our own constant
_TAKE = f"""
UPDATE forebay_partition AS p SET next_offset = p.next_offset + json_extract(wanted.value, '$[2]')
FROM json_each(?) AS wanted WHERE {_WANTED}
"""  # noqa: S608 - our own constant

# How far one may read within so many bytes is asked of the sizes alone: together with the values, SQLite would copy all
# of them into a temporary file, as large as what waits and not as what is wanted.
_READ = """
SELECT json_group_array(json_array("offset", timestamp_ms, hex("key"), hex(headers), hex(value))) FROM (
    SELECT * FROM forebay_record
    WHERE stream = :stream AND "partition" = :partition AND "offset" >= :offset AND "offset" <= (
        SELECT max("offset") FROM (
            SELECT "offset", sum(size) OVER (ORDER BY "offset") - size AS bytes_before FROM (
                SELECT "offset", length(value) AS size FROM forebay_record
                WHERE stream = :stream AND "partition" = :partition AND "offset" >= :offset
                ORDER BY "offset" LIMIT :max_records
            )
        ) WHERE bytes_before < :max_bytes
    ) ORDER BY "offset"
)
"""

# hex(NULL) would be an empty text.
_FACTS = """
SELECT json_group_array(json_array("offset", "key", iif(value IS NULL, NULL, hex(value)))) FROM (
    SELECT * FROM forebay_portal WHERE stream = ? AND "offset" >= ? ORDER BY "offset" LIMIT ?
)
"""


@cache
def _insert(rows: int) -> str:
    columns = 'stream, "partition", "offset", timestamp_ms, "key", headers, value'
    return f"INSERT INTO forebay_record ({columns}) VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * rows)  # noqa: S608


class SqliteDatabase:
    """A SQLite file in WAL mode; COMMIT returns after an fsync."""

    errors: tuple[type[Exception], ...] = ()

    def __init__(self, path: Path, *, busy_s: float = _BUSY_S) -> None:
        self._path, self._busy_s = path, busy_s
        self._engine = create_engine(
            "sqlite+pysqlite://", creator=self._open, poolclass=NullPool, hide_parameters=True
        ).execution_options(isolation_level="AUTOCOMMIT")

    @property
    def name(self) -> str:
        """As in the protocol."""
        return str(self._path)

    def exists(self) -> bool:
        """As in the protocol. One that this user may not look for may well be there."""
        try:
            os.stat(self._path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    def create(self) -> None:
        """As in the protocol. The events are for this user's eyes only."""
        make_folder(self._path.parent, 0o700)
        # SQLite gives the files beside it (-wal, -shm) the mode of this one. One that is there is not opened: closing
        # it would drop the locks of all of this process's connections (sqlite.org/howtocorrupt.html, 2.2).
        if not self.exists():
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))

    def tune(self, connection: Connection) -> None:
        """As in the protocol: nothing to set."""

    def uncounted(self, connection: Connection, places: Sequence[Place]) -> list[Place]:
        """As in the protocol: none, as a column of the place's own row counts."""
        return []

    def count(self, connection: Connection, places: Iterable[Place]) -> None:
        """As in the protocol: never asked for one."""

    def connect(self) -> Connection:
        """As in the protocol."""
        # Before it is opened: a file that is replaced in between is then taken for an old one, and not for the new one.
        file = os.stat(self._path)
        connection = self._engine.connect()
        connection.info[_FILE] = file
        return connection

    def current(self, connection: Connection) -> bool:
        """As in the protocol. While a connection has a file open, no other file gets its number."""
        return _is_at(self._path, connection.info[_FILE])

    def _open(self) -> sqlite3.Connection:
        # mode=rw: a file that is missing is an error to tell, not an empty database to make.
        uri = f"file://{quote(str(self._path.absolute()))}?mode=rw"
        opened = sqlite3.connect(uri, uri=True, timeout=self._busy_s, isolation_level=None)
        try:
            self._prepare(opened)
        except BaseException:
            opened.close()
            raise
        return opened

    def _prepare(self, opened: sqlite3.Connection) -> None:
        # FULL: COMMIT returns after an fsync of the WAL; NORMAL would leave it to the next checkpoint.
        opened.execute("PRAGMA synchronous = FULL")
        if opened.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            # Changing the mode does not wait for others: it fails when two try at once.
            with self._turn():
                opened.execute("PRAGMA journal_mode = WAL")

    @contextmanager
    def writing(self, connection: Connection, *, alone: str = "", beside: str = "") -> Iterator[None]:
        """As in the protocol. Whoever writes is alone, under whatever name, and always knows how it ended."""
        with self._turn():
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                _undo(connection)
                raise
            # Last of all: what was written to a file that nobody finds any more must not be acknowledged.
            if not self.current(connection):
                raise QueueUnavailable(f"{self._path} was deleted or replaced meanwhile; try again")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait in the kernel until no other writer of ours is at work.

        SQLite's own waiting is sleeping and trying again, up to 100 ms at a time, which starves a writer while others
        are busy. It also keeps two of our checkpoints from running at once (sqlite.org/wal.html, "WAL-reset bug").
        """
        path = Path(f"{self._path}.lock")
        while True:
            lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                # One that was deleted while we waited for it keeps out nobody: others have made a new one.
                if _is_at(path, os.fstat(lock)):
                    yield
                    return
            finally:
                os.close(lock)

    def remedy(self, error: Exception) -> str:
        """As in the protocol."""
        if not self.exists():
            return f"there is no queue at {self._path} yet; `forebay topics ensure` makes it"
        words = str(getattr(error, "orig", None) or getattr(error, "strerror", None) or error)
        if "no such table" in words:
            return f"{self._path} has none of our tables yet; `forebay topics ensure` makes them"
        return f"SQLite says of {self._path}: {words}; look at free space, permissions, and who else uses the file"

    def now_ms(self, connection: Connection) -> int:
        """As in the protocol: all members are on this machine."""
        return time.time_ns() // 1_000_000

    def watch(self, stream: int) -> Watch:
        """As in the protocol."""
        return _FileWatch()

    def announce(self, connection: Connection, places: Iterable[Place]) -> None:
        """As in the protocol: the file itself tells that it has changed."""

    def record_bytes(self, connection: Connection) -> int:
        """As in the protocol."""
        return MAX_RECORD_BYTES

    def ends(self, connection: Connection, places: Sequence[Place]) -> dict[Place, int]:
        """As in the protocol."""
        found = connection.exec_driver_sql(_ENDS, (_json(places),)).scalar_one()
        return {Place(stream, partition): end for stream, partition, end in orjson.loads(found)}

    def take_offsets(self, connection: Connection, counts: Mapping[Place, int]) -> dict[Place, int]:
        """As in the protocol. The whole file is locked, so reading and then adding is one step."""
        first = self.ends(connection, list(counts))
        wanted = _json((*place, count) for place, count in counts.items())
        connection.exec_driver_sql(_TAKE, (wanted,))
        return first

    def append(self, connection: Connection, rows: Sequence[Row]) -> None:
        """As in the protocol."""
        done = 0
        while done < len(rows):
            # Powers of two: nine statements serve every size, and stay prepared.
            size = min(_INSERT_ROWS, 1 << ((len(rows) - done).bit_length() - 1))
            values = tuple(value for row in rows[done : done + size] for value in row)
            connection.exec_driver_sql(_insert(size), values)
            done += size

    def kept(self, connection: Connection, rows: Sequence[Row]) -> bool:
        """As in the protocol: never asked, as nothing is undecided here."""
        raise NotImplementedError

    def read(self, connection: Connection, place: Place, offset: int, max_records: int, max_bytes: int) -> list[Row]:
        """As in the protocol."""
        limits = {"offset": offset, "max_records": max_records, "max_bytes": max_bytes}
        found = connection.exec_driver_sql(_READ, place._asdict() | limits).scalar_one()
        octets = bytes.fromhex
        return [
            Row(*place, offset, timestamp_ms, octets(key).decode(), octets(headers), octets(value))
            for offset, timestamp_ms, key, headers, value in orjson.loads(found)
        ]

    def facts(self, connection: Connection, stream: int, start: int, max_facts: int) -> list[PlacedFact]:
        """As in the protocol."""
        found = connection.exec_driver_sql(_FACTS, (stream, start, max_facts)).scalar_one()
        return [
            PlacedFact(offset, key, None if value is None else bytes.fromhex(value))
            for offset, key, value in orjson.loads(found)
        ]

    def findings(self, connection: Connection, needs: Needs) -> Iterable[Finding]:
        """As in the protocol: nothing."""
        return ()


class _FileWatch:
    """Looks every few milliseconds whether somebody else's commit has changed the file."""

    def begin(self, connection: Connection) -> None:
        """As in the protocol."""
        self._connection = connection
        self._seen = _changes(connection)

    def wait(self, partitions: Collection[int], bell: Bell, timeout_s: float) -> None:
        """As in the protocol."""
        until = time.monotonic() + timeout_s
        while (left := until - time.monotonic()) > 0:
            if bell.wait(min(left, _LOOK_EVERY_S)) or _changes(self._connection) != self._seen:
                return


def _changes(connection: Connection) -> object:
    """A mark that is another one after somebody else's commit."""
    # Without SQLAlchemy's machinery, which costs more than the statement: this runs a hundred times a second.
    try:
        return _opened(connection).execute("PRAGMA data_version").fetchone()
    except sqlite3.Error:
        # A new mark: whoever then reads gets the error, and its remedy.
        return object()


def _is_at(path: Path, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(file, os.stat(path))
    except FileNotFoundError:
        return False


def _json(rows: Iterable[tuple[int, ...]]) -> str:
    # orjson takes tuples, but no named ones.
    return orjson.dumps([(*row,) for row in rows]).decode()


def _undo(connection: Connection) -> None:
    # After some errors (disk full, I/O) SQLite has rolled back already, and then ROLLBACK is one more error.
    if _opened(connection).in_transaction:
        connection.exec_driver_sql("ROLLBACK")


def _opened(connection: Connection) -> sqlite3.Connection:
    return cast("sqlite3.Connection", connection.connection.dbapi_connection)
