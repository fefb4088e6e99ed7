"""What can go wrong between us and a queue; the type says who acts."""

from collections.abc import Collection
from typing import TypeVar

from forebay.schemas.errors import ForebayError

_Error = TypeVar("_Error", bound="QueueError")


class QueueError(ForebayError):
    """Something is wrong with the queue."""


class QueueUnavailable(QueueError):
    """The queue doesn't answer or can't take anything just now. Trying again later is right."""


class RecordRefused(QueueError):
    """The queue will never take this record as it is (too large, not allowed). Trying again is useless."""


class UnknownStream(QueueError):
    """The queue has no such stream. `forebay topics ensure` makes what is missing."""


class Unsupported(QueueError):
    """This queue can't do what was asked for; its promises say so."""


class ClientMissing(QueueError):
    """The library that speaks to this queue is not installed. The message has the command that installs it."""


class BadQueueSettings(QueueError):
    """The queue's client can't be made with these settings, whenever that is tried."""


class Fenced(QueueError):
    """Some partitions belong to another member by now: what was committed for them did not count."""

    def __init__(self, partitions: Collection[int]) -> None:
        super().__init__(f"partitions {sorted(partitions)} belong to another member of the group by now")
        self.partitions = frozenset(partitions)


def anew(error: _Error) -> _Error:
    """The same error: one exception that many callers raise would gather all of their tracebacks."""
    same = type(error)(*error.args)
    same.__cause__ = error.__cause__
    return same
