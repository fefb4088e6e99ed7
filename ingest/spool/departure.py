"""A record that was sent out of the spool."""

from typing import Protocol

from forebay.queues.contract import Position
from forebay.queues.errors import QueueError

from .kept import Head, Kept


class Origin(Protocol):
    """Who gave the record to the queue: hears once what became of it."""

    def arrived(self, departure: "Departure", /) -> None:
        """The queue has the record."""

    def returned(self, departure: "Departure", error: QueueError, /) -> None:
        """The queue surely has not got the record."""


class Departure:
    """One record on its way from the spool to the queue, or to quarantine."""

    __slots__ = ("head", "is_told", "kept", "origin", "since", "to_quarantine")

    def __init__(self, origin: Origin, head: Head, kept: Kept, since: float, *, to_quarantine: bool = False) -> None:
        self.origin, self.head, self.kept, self.since, self.to_quarantine = origin, head, kept, since, to_quarantine
        self.is_told = False

    def done(self) -> bool:
        """As in the contract: until it is told, somebody wants to know."""
        return self.is_told

    def set_result(self, position: Position, /) -> None:
        """As in the contract."""
        if not self.is_told:
            self.is_told = True
            self.origin.arrived(self)

    def set_exception(self, error: QueueError, /) -> None:
        """As in the contract."""
        if not self.is_told:
            self.is_told = True
            self.origin.returned(self, error)
