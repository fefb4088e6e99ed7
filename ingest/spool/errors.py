"""What can keep the spool from taking an event, or from giving it back, and what SQLite's errors say of a file."""

import errno
import sqlite3

from forebay.queues.errors import QueueUnavailable

#: SQLite's words for a file that must not be written to any more; the low byte of its error codes. A failed fsync is
#: an IOERR: the kernel forgets what it could not write, so that a second fsync would succeed and mean nothing. ERROR is
#: said of our own statements only where the file has another table than the one that we have made.
_BREAKING = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_ERROR,
    }
)
_CODE = 0xFF

#: SQLite's memory beside the file can't be had, as on a full disk. Nothing is wrong with the file.
_BESIDE = frozenset({sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP})

#: The disk, or who may use it, has no room.
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_SPACE_BY_SQLITE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


class SpoolUnavailable(QueueUnavailable):
    """The spool takes nothing just now. An event that the queue doesn't take either is told as not kept."""


class SpoolFull(SpoolUnavailable):
    """The spool has as much as `spool_max_bytes` or its disk allows."""


class SpoolBroken(SpoolUnavailable):
    """The disk failed while the spool wrote, and no new file could be begun."""


class MayPass(sqlite3.DatabaseError):
    """A file can't be read, and perhaps only just now."""


def breaks(error: sqlite3.Error) -> bool:
    """Whether the file that gave this error may not be written to again."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & _CODE in _BREAKING and code not in _BESIDE


def is_damage(error: sqlite3.Error) -> bool:
    """Whether something is wrong with the file, rather than that it could not be opened just now."""
    return breaks(error) and error.sqlite_errorcode & _CODE != sqlite3.SQLITE_CANTOPEN


def is_full(error: Exception) -> bool:
    """Whether there is no room to write."""
    by_sqlite = getattr(error, "sqlite_errorcode", 0)
    return getattr(error, "errno", None) in _NO_SPACE or by_sqlite in _NO_SPACE_BY_SQLITE
