"""One SQLite file of the spool. Its methods block, and are called by one thread at a time."""

import re
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from .counts import Held
from .folder import BESIDE, VERSION
from .kept import Head, Kept, Put, columns_of, kept_of

#: Numbers of records begin here in the file n with n times this, so that they grow over files too.
RECORDS_A_FILE = 1 << 40

#: When the log has grown by so much, a checkpoint moves it into the file. Who starts after a crash reads all of the log
#: before it takes an event: some 3 ms a megabyte. A checkpoint takes 2 ms; below 8 MB commits are slowed by them.
_CHECKPOINT_BYTES = 8 << 20

#: Each transaction writes at least the last page of the records, and that of the numbers, once more.
_COMMIT_BYTES = 2 * 4096

#: Others hold SQLite's own lock for a moment only, as writers take turns by a lock of ours.
_BUSY_S = 5.0

#: What a record takes beside its own bytes; as in `Put.size`.
_SIZE = "coalesce(length(CAST(key AS BLOB)) + length(headers) + length(value), 0) + 128"

# A flipped bit may have made any type of any column, and JSON has no place for some of them.
_TIMESTAMP, _CHECKSUM, _OWNER = "CAST(timestamp_ms AS INTEGER)", "CAST(checksum AS INTEGER)", "CAST(owner AS TEXT)"

#: What can be a process's name here.
_NAME = re.compile(r"\w{1,64}", re.ASCII)

#: A deletion writes about so much to the log.
_DELETED_BYTES = 512

#: Rows of one INSERT at most: far below SQLite's 32,766 variables, and few distinct statements to prepare.
_INSERT_ROWS = 256

# One step of a statement lets go of the GIL once, and while the event loop is busy the thread gets it back only after
# the switch interval (5 ms). So what is read or written in bulk crosses in one step, as in queues/sql/sqlite/.
_EACH = "json_each(?)"
_GIVEN = f"(SELECT value FROM {_EACH})"  # noqa: S608 - our own constant
_HEADS = f"""
SELECT json_group_array(json_array(seq, hex(key), {_SIZE}, {_TIMESTAMP}, {_OWNER}))
FROM (SELECT * FROM record WHERE seq >= ? ORDER BY seq LIMIT ?)
"""  # noqa: S608 - our own constants
_LOAD = f"""
SELECT json_group_array(
    json_array(seq, hex(stream), hex(key), {_TIMESTAMP}, hex(headers), hex(value), {_CHECKSUM})
)
FROM (SELECT * FROM record WHERE seq IN {_GIVEN} ORDER BY seq)
"""  # noqa: S608 - our own constants

_TABLE = """
CREATE TABLE record (seq INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT, stream TEXT NOT NULL, key TEXT NOT NULL,
    timestamp_ms INTEGER NOT NULL, headers BLOB NOT NULL, value BLOB NOT NULL, checksum INTEGER NOT NULL)
"""

#: Few records have an owner, and who starts looks for all of them while others wait to write.
_INDEX = "CREATE INDEX owned ON record (owner) WHERE owner NOT NULL"

#: How many were deleted stands beside the number of the last record, so that it is known how many must be here: where a
#: disk has changed a page, records may be hidden without SQLite's finding anything wrong.
_DELETED = """
CREATE TRIGGER deleted AFTER DELETE ON record
BEGIN UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'deleted'; END
"""
_EXPECTED = """
SELECT CAST(came.seq - gone.seq - ? AS INTEGER)
FROM sqlite_sequence AS came, sqlite_sequence AS gone WHERE came.name = 'record' AND gone.name = 'deleted'
"""


@cache
def _insert(rows: int) -> str:
    columns = "owner, stream, key, timestamp_ms, headers, value, checksum"
    return f"INSERT INTO record ({columns}) VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * rows)  # noqa: S608


class _Connection(sqlite3.Connection):
    """Has a word for a damaged schema that SQLite quotes, and Python then can't read."""

    def execute(self, *given: Any) -> sqlite3.Cursor:
        """As in `sqlite3`."""
        try:
            return super().execute(*given)
        except UnicodeDecodeError as error:
            damage = sqlite3.DatabaseError("malformed database schema")
            damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damage from error


class SpoolFile:
    """Records, in the order in which they came."""

    def __init__(self, path: Path, number: int, *, only_read: bool = False) -> None:
        self.path, self.number = path, number
        self._since_checkpoint = 0
        mode = "ro" if only_read else "rw"
        uri = f"file://{quote(str(path.absolute()))}?mode={mode}"
        # Each is used by one thread at a time; which one that is may change.
        self._opened = sqlite3.connect(
            uri, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, factory=_Connection
        )
        try:
            # FULL: COMMIT returns after an fsync of the log. Checkpoints are ours, as SQLite hides how its own ended.
            self._opened.execute("PRAGMA synchronous = FULL")
            # On macOS an fsync ends at the drive's own memory.
            self._opened.execute("PRAGMA fullfsync = ON")
            self._opened.execute("PRAGMA wal_autocheckpoint = 0")
            # A flipped bit in a portal's name is found by the checksum, and must not keep all else from being read.
            self._opened.text_factory = _lenient
        except BaseException:
            self._opened.close()
            raise

    @classmethod
    def create(cls, path: Path, number: int) -> "SpoolFile":
        """A new, empty one. It gets its name when it is whole: who dies before leaves none that nobody can read."""
        begun = path.with_name(f"{path.name}.new")
        for file in (path, begun):
            for suffix in BESIDE:
                Path(f"{file}{suffix}").unlink(missing_ok=True)
        begun.touch(0o600)
        made = cls(begun, number)
        try:
            made._opened.execute("PRAGMA journal_mode = WAL")
            with made.writing():
                made._opened.execute(f"PRAGMA user_version = {VERSION}")
                made._opened.execute(_TABLE)
                made._opened.execute(_INDEX)
                made._opened.execute(_DELETED)
                first = number * RECORDS_A_FILE
                made._opened.execute(
                    "INSERT INTO sqlite_sequence (name, seq) VALUES ('record', ?), ('deleted', 0)", (first,)
                )
            # The log keeps its old name.
            made._opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            made.close()
        begun.rename(path)
        return cls(path, number)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction: durable when the block was left, undone when it failed."""
        self._opened.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._opened.execute("COMMIT")
            self._since_checkpoint += _COMMIT_BYTES
        except BaseException:
            # After some errors SQLite has rolled back already.
            if self._opened.in_transaction:
                self._opened.execute("ROLLBACK")
            raise

    def insert(self, puts: Sequence[Put]) -> list[int]:
        """The numbers of the records, in the order of the puts."""
        seqs: list[int] = []
        while len(seqs) < len(puts):
            # Powers of two: nine statements serve every size, and stay prepared.
            size = min(_INSERT_ROWS, 1 << ((len(puts) - len(seqs)).bit_length() - 1))
            some = puts[len(seqs) : len(seqs) + size]
            values = [value for put in some for value in (put.owner, *columns_of(put))]
            last = self._opened.execute(_insert(size), values).lastrowid or 0
            # Nobody else writes meanwhile, so the numbers of one statement have no gap.
            seqs += range(last - size + 1, last + 1)
        self._since_checkpoint += sum(put.size for put in puts)
        return seqs

    def touch(self) -> list[int]:
        """Write, and change nothing: it shows whether the disk takes something. No number of a record."""
        # Of a row that stays as it is SQLite would write no page. This number is nobody's; the version stays, whatever
        # it is.
        self._opened.execute("PRAGMA application_id = 0")
        return []

    def delete(self, seqs: Collection[int]) -> None:
        """The records of these numbers go."""
        self._since_checkpoint += len(seqs) * _DELETED_BYTES
        self._opened.execute(f"DELETE FROM record WHERE seq IN {_GIVEN}", (_json(seqs),))  # noqa: S608 - our own constant

    def take_over(self) -> None:
        """What a crash has left in the log counts as written by this process."""
        with suppress(OSError):
            self._since_checkpoint += Path(f"{self.path}-wal").stat().st_size

    def checkpoint(self) -> None:
        """When much was written by this process: move it from the log into the file, so that the log begins anew."""
        if self._since_checkpoint >= _CHECKPOINT_BYTES:
            self._since_checkpoint = 0
            self._opened.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def heads(self, after: int, limit: int) -> list[Head]:
        """The next records behind that number."""
        return [
            Head(seq=seq, key=_text(key), size=size, timestamp_ms=_number(timestamp_ms), owner=_name(owner))
            # Asked from that number on, SQLite would read the page of it too, which may be a damaged one.
            for seq, key, size, timestamp_ms, owner in self._found(_HEADS, after + 1, limit)
        ]

    def last(self) -> int:
        """The highest number that a record here has ever had."""
        asked = "SELECT coalesce(max(CAST(seq AS INTEGER)), ?) FROM sqlite_sequence WHERE name = 'record'"
        ((last,),) = self._opened.execute(asked, (self.number * RECORDS_A_FILE,))
        return int(last)

    def expected(self) -> int | None:
        """How many records must be here: all that came but those that were deleted. None where it can't tell."""
        found = self._opened.execute(_EXPECTED, (self.number * RECORDS_A_FILE,)).fetchone()
        return int(found[0]) if found else None

    def count(self) -> int:
        """How many are found."""
        ((count,),) = self._opened.execute("SELECT count(*) FROM record")
        return int(count)

    def load(self, seqs: Collection[int]) -> list[Kept]:
        """The records of these numbers that are still there, in order."""
        octets = bytes.fromhex
        return [
            kept_of(
                seq,
                (_text(stream), _text(key), _number(timestamp_ms), octets(headers), octets(value), _number(checksum)),
            )
            for seq, stream, key, timestamp_ms, headers, value, checksum in self._found(_LOAD, _json(seqs))
        ]

    def _found(self, asked: str, *values: object) -> list[list[Any]]:
        found: list[list[Any]] = orjson.loads(self._opened.execute(asked, values).fetchone()[0])
        return found

    def held(self) -> dict[str, Held]:
        """What each portal has here."""
        asked = f"SELECT key, count(*), sum({_SIZE}) FROM record GROUP BY key"  # noqa: S608 - our own constant
        return {str(key): Held(records=records, size=size) for key, records, size in self._opened.execute(asked)}

    def owners(self) -> set[str]:
        """Who owned a record that is still here."""
        return {owner for (owner,) in self._opened.execute("SELECT DISTINCT owner FROM record WHERE owner NOT NULL")}

    def faults(self) -> list[str]:
        """What SQLite finds wrong with the file itself; empty when it is whole."""
        return [words for (words,) in self._opened.execute("PRAGMA integrity_check") if words != "ok"]

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        self._opened.close()


def _json(seqs: Collection[int]) -> str:
    return orjson.dumps(list(seqs)).decode()


def _text(octets: str) -> str:
    return _lenient(bytes.fromhex(octets))


def _lenient(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")


def _number(value: object) -> int:
    # A flipped bit may have left nothing of it; then the checksum says so.
    return value if isinstance(value, int) else 0


def _name(owner: str | None) -> str | None:
    # Of a name that a flipped bit has made there can't even be a file: the record is sent, as after a death.
    return owner if owner and _NAME.fullmatch(owner) else None
