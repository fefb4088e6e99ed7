"""What can keep the spool from taking an event."""

from forebay.queues.errors import QueueUnavailable


class SpoolUnavailable(QueueUnavailable):
    """The spool takes nothing just now. An event that the queue doesn't take either is told as not kept."""


class SpoolFull(SpoolUnavailable):
    """The spool has as much as `spool_max_bytes` or its disk allows."""


class SpoolBroken(SpoolUnavailable):
    """The disk failed while the spool wrote, and no new file could be begun."""
