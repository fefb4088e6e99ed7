"""What can keep the spool from taking an event, or from giving it back."""

import sqlite3

from forebay.queues.errors import QueueUnavailable


class SpoolUnavailable(QueueUnavailable):
    """The spool takes nothing just now. An event that the queue doesn't take either is told as not kept."""


class SpoolFull(SpoolUnavailable):
    """The spool has as much as `spool_max_bytes` or its disk allows."""


class SpoolBroken(SpoolUnavailable):
    """The disk failed while the spool wrote, and no new file could be begun."""


class MayPass(sqlite3.DatabaseError):
    """A file can't be read, and perhaps only just now."""
