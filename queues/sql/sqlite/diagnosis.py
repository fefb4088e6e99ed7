"""What `doctor` looks at in an SQLite file."""

import sqlite3
from pathlib import Path

from forebay.queues.findings import Finding

from ... import looks

#: Older ones are not tested.
_OLDEST = (3, 31)


def version() -> Finding:
    """Which SQLite Python has: mostly the system's."""
    supported = sqlite3.sqlite_version_info >= _OLDEST
    return looks.version(f"SQLite {sqlite3.sqlite_version}", supported=supported, oldest=".".join(map(str, _OLDEST)))


def log(path: Path, most: int) -> Finding:
    """Whether the file's log has no more than these bytes, which are what it keeps."""
    file = Path(f"{path}-wal")
    size = file.stat().st_size if file.exists() else 0
    if size <= most:
        return Finding(check="queue log", state="ok", detail="what is written comes into the file")
    detail = f"{file} has {size // 2**20} MiB and grows: another program reads the file, and has not ended"
    remedy = f"end that program, or its transaction (fuser {path} names it)"
    return Finding(check="queue log", state="warn", detail=detail, remedy=remedy)
