"""SQLite: one file, readers that don't wait, one writer at a time."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from urllib.parse import quote

import orjson
from sqlalchemy import Connection, NullPool, create_engine

from forebay.queues.errors import QueueUnavailable
from forebay.queues.findings import Finding, Needs
from forebay.queues.folders import make_folder, open_private
from forebay.queues.portals.contract import PlacedFact

from ...batches.records import MAX_RECORD_BYTES
from ...groups.bell import Bell
from ..database import Place, Row, Watch
from . import diagnosis, statements

#: Seconds that SQLite waits when a program that is not ours (a shell, a backup) holds its lock.
_BUSY_S = 5.0

#: Rows of one INSERT at most: below 999 variables, which are all that SQLite took before 3.32.
_INSERT_ROWS = 128

#: Bytes that the log (`-wal`) keeps of the disk. It needs more while somebody reads on and on, who keeps all that is
#: written meanwhile from going into the file.
_LOG_BYTES = 64 * 1024 * 1024

#: Seconds between two looks for new records: half of it is what a record waits on average.
_LOOK_EVERY_S = 0.01

#: SQLite's codes for a file of which not every page can be read; the low byte.
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_CODE = 0xFF

#: Where a connection keeps which file it has open.
_FILE = "forebay_file"


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
        # SQLite gives the files beside it (-wal, -shm) the mode and owner of this one. One that is there is not opened:
        # closing it would drop the locks of all of this process's connections (sqlite.org/howtocorrupt.html, 2.2).
        if not self.exists():
            os.close(open_private(self._path))

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
        # On macOS an fsync ends at the drive's own memory.
        opened.execute("PRAGMA fullfsync = ON")
        if opened.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            # Changing the mode does not wait for others: it fails when two try at once.
            with self._turn():
                opened.execute("PRAGMA journal_mode = WAL")
        opened.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")

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
            lock = open_private(path)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                # One that was deleted while we waited for it keeps out nobody: others have made a new one.
                if _is_at(path, os.fstat(lock)):
                    yield
                    return
            finally:
                # Closing it is not enough: a process that a handler has forked meanwhile has it open while it lives.
                fcntl.flock(lock, fcntl.LOCK_UN)
                os.close(lock)

    def remedy(self, error: Exception) -> str:
        """As in the protocol."""
        if not self.exists():
            return f"there is no queue at {self._path} yet; `forebay topics ensure` makes it"
        words = str(getattr(error, "orig", None) or getattr(error, "strerror", None) or error)
        if "no such table" in words:
            return f"{self._path} has none of our tables yet; `forebay topics ensure` makes them"
        if diagnosis.is_locked(error):
            return (
                f"SQLite says of {self._path}: {words}; another program keeps everybody from writing: end it, or its "
                f"transaction (fuser {self._path} names it)"
            )
        if getattr(getattr(error, "orig", error), "sqlite_errorcode", 0) & _CODE in _DAMAGED:
            return f"SQLite says of {self._path}: {words}; {diagnosis.MENDED}"
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
        found = connection.exec_driver_sql(statements.ENDS, (_json(places),)).scalar_one()
        return {Place(stream, partition): end for stream, partition, end in orjson.loads(found)}

    def take_offsets(self, connection: Connection, counts: Mapping[Place, int]) -> dict[Place, int]:
        """As in the protocol. The whole file is locked, so reading and then adding is one step."""
        first = self.ends(connection, list(counts))
        wanted = _json((*place, count) for place, count in counts.items())
        connection.exec_driver_sql(statements.TAKE, {"wanted": wanted})
        return first

    def append(self, connection: Connection, rows: Sequence[Row]) -> None:
        """As in the protocol."""
        done = 0
        while done < len(rows):
            # Powers of two: eight statements serve every size, and stay prepared.
            size = min(_INSERT_ROWS, 1 << ((len(rows) - done).bit_length() - 1))
            values = tuple(value for row in rows[done : done + size] for value in row)
            connection.exec_driver_sql(statements.insert(size), values)
            done += size

    def kept(self, connection: Connection, rows: Sequence[Row]) -> bool:
        """As in the protocol: never asked, as nothing is undecided here."""
        raise NotImplementedError

    def read(self, connection: Connection, place: Place, offset: int, max_records: int, max_bytes: int) -> list[Row]:
        """As in the protocol."""
        limits = {"offset": offset, "max_records": max_records, "max_bytes": max_bytes}
        found = connection.exec_driver_sql(statements.READ, place._asdict() | limits).scalar_one()
        octets = bytes.fromhex
        return [
            Row(*place, offset, timestamp_ms, octets(key).decode(), octets(headers), octets(value))
            for offset, timestamp_ms, key, headers, value in orjson.loads(found)
        ]

    def check_writes(self, connection: Connection) -> None:
        """As in the protocol: there is no other server."""

    def facts(self, connection: Connection, stream: int, start: int, max_facts: int) -> list[PlacedFact]:
        """As in the protocol."""
        found = connection.exec_driver_sql(statements.FACTS, (stream, start, max_facts)).scalar_one()
        return [
            PlacedFact(offset, key, None if value is None else bytes.fromhex(value))
            for offset, key, value in orjson.loads(found)
        ]

    def findings(self, connection: Connection, needs: Needs) -> Iterable[Finding]:
        """As in the protocol."""
        return [
            diagnosis.version(),
            diagnosis.log(self._path, _LOG_BYTES),
            diagnosis.lock(self._path, connection),
            self.whole(connection),
        ]

    def whole(self, connection: Connection) -> Finding:
        """Whether every page of the file can be read."""
        return diagnosis.file(_opened(connection), self._path)


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
