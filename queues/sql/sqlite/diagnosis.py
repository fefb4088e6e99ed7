"""What `doctor` looks at in an SQLite file."""

import sqlite3
import time
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from forebay.queues.findings import Finding

from ... import looks

#: Older ones are not tested.
_OLDEST = (3, 31)

#: Seconds in which a file is looked through: some gigabytes from a usual disk.
_LOOK_S = 5.0

#: Steps of SQLite's machine between two looks at the time.
_STEPS = 10_000

#: What to do about a file that is damaged.
MENDED = "docs/operations.md, A damaged file, says how to keep what can be read of it"


def version() -> Finding:
    """Which SQLite Python has: mostly the system's."""
    return looks.version(f"SQLite {sqlite3.sqlite_version}", sqlite3.sqlite_version, _OLDEST)


def lock(path: Path, connection: Connection) -> Finding:
    """Whether one may write; waits as long as an event would."""
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except OperationalError as error:
        if not is_locked(error):
            raise
        detail = f"another program keeps everybody from writing to {path}: calls get 503"
        remedy = f"end it, or its transaction (fuser {path} names it)"
        return Finding(check="queue lock", state="fail", detail=detail, remedy=remedy)
    connection.exec_driver_sql("ROLLBACK")
    return Finding(check="queue lock", state="ok", detail="no other program keeps us from writing")


def is_locked(error: BaseException) -> bool:
    """Whether SQLite waited for another program in vain, also where SQLAlchemy wrapped its error."""
    cause = getattr(error, "orig", None) or error
    # The low byte is the kind; the rest says where.
    return isinstance(cause, sqlite3.Error) and getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def log(path: Path, most: int) -> Finding:
    """Whether the file's log has no more than these bytes, which are what it keeps."""
    file = Path(f"{path}-wal")
    size = file.stat().st_size if file.exists() else 0
    if size <= most:
        return Finding(check="queue log", state="ok", detail="what is written comes into the file")
    detail = f"{file} has {size // 2**20} MiB and grows: another program reads the file, and has not ended"
    remedy = f"end that program, or its transaction (fuser {path} names it)"
    return Finding(check="queue log", state="warn", detail=detail, remedy=remedy)


def file(opened: sqlite3.Connection, path: Path) -> Finding:
    """Whether every page of the file can be read, as far as it is looked through in a few seconds."""
    until = time.monotonic() + _LOOK_S
    opened.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
    try:
        (fault,) = opened.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        detail = f"not looked through to its end within {_LOOK_S:g} s; `sqlite3 {path} 'PRAGMA quick_check'` does"
        return Finding(check="queue file", state="ok", detail=detail)
    finally:
        opened.set_progress_handler(None, 0)
    if fault == "ok":
        return Finding(check="queue file", state="ok", detail="every page can be read")
    detail = f"{path} is damaged: {' '.join(fault.split())}"
    return Finding(check="queue file", state="fail", detail=detail, remedy=MENDED)
