"""What `doctor` looks at in an SQLite file."""

import sqlite3

from sqlalchemy import Connection

from forebay.queues.findings import Finding

from ... import looks

#: Older ones are not tested.
_OLDEST = (3, 31)


def version() -> Finding:
    """Which SQLite Python has: mostly the system's."""
    supported = sqlite3.sqlite_version_info >= _OLDEST
    return looks.version(f"SQLite {sqlite3.sqlite_version}", supported=supported, oldest=".".join(map(str, _OLDEST)))


def log(connection: Connection, path: str, most: int) -> Finding:
    """Whether what is written comes into the file, but for so many bytes. Nobody else may write meanwhile."""
    [(_, pages, moved)] = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
    held: int = (pages - moved) * connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    if held <= most:
        return Finding(check="queue log", state="ok", detail="what is written comes into the file")
    detail = f"{held // 2**20} MiB wait in {path}-wal, which grows: another program reads the file, and has not ended"
    remedy = f"end that program, or its transaction (fuser {path} names it)"
    return Finding(check="queue log", state="warn", detail=detail, remedy=remedy)
