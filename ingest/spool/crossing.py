"""A record on its way to the queue, and who waits for what becomes of it."""

from typing import Protocol

from forebay.queues.contract import Position, Record
from forebay.queues.errors import QueueError


class Answer(Protocol):
    """What waits for a record: a future, or whatever can be told like one."""

    def done(self) -> bool:
        """Whether it was told, or doesn't want to know any more."""

    def set_result(self, is_spooled: bool, /) -> None:
        """The record is kept, by the spool or by the queue."""

    def set_exception(self, error: Exception, /) -> None:
        """The record is kept nowhere."""


class Origin(Protocol):
    """Who gave the record to the queue: hears once what became of it."""

    def delivered(self, crossing: "Crossing", /) -> None:
        """The queue has the record."""

    def failed(self, crossing: "Crossing", error: QueueError, /) -> None:
        """The queue surely has not got the record."""


class Crossing:
    """One record that was given to the queue: the producer tells it what became of the record."""

    __slots__ = ("answer", "fate", "origin", "record", "seq", "since", "stream")

    def __init__(self, origin: Origin, stream: str, record: Record, answer: Answer, since: float) -> None:
        self.origin, self.stream, self.record, self.answer, self.since = origin, stream, record, answer, since
        #: Its number in the spool: None before it is there, 0 while it is on its way there.
        self.seq: int | None = None
        #: Whether it was delivered, once that is known.
        self.fate: bool | None = None

    def done(self) -> bool:
        """As in the contract: until it is told, somebody wants to know."""
        return self.fate is not None

    def set_result(self, position: Position, /) -> None:
        """As in the contract."""
        if self.fate is None:
            self.origin.delivered(self)

    def set_exception(self, error: QueueError, /) -> None:
        """As in the contract."""
        if self.fate is None:
            self.origin.failed(self, error)

    def tell(self, is_spooled: bool) -> None:
        """Answer the call, unless it was answered or has ended."""
        if not self.answer.done():
            self.answer.set_result(is_spooled)

    def fail(self, error: Exception) -> None:
        """The same, when the record is nowhere."""
        if not self.answer.done():
            self.answer.set_exception(error)
