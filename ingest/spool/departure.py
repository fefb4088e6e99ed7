"""A record that the drain has sent: what becomes of it is told to the drain."""

from typing import TYPE_CHECKING

from forebay.queues.contract import Position
from forebay.queues.errors import QueueError

from .kept import Head, Kept

if TYPE_CHECKING:
    from .drain import Drain


class Departure:
    """One record on its way from the spool to the queue, or to quarantine."""

    __slots__ = ("drain", "head", "is_told", "kept", "since", "to_quarantine")

    def __init__(self, drain: "Drain", head: Head, kept: Kept, since: float, *, to_quarantine: bool = False) -> None:
        self.drain, self.head, self.kept, self.since, self.to_quarantine = drain, head, kept, since, to_quarantine
        self.is_told = False

    def done(self) -> bool:
        """As in the contract: until it is told, somebody wants to know."""
        return self.is_told

    def set_result(self, position: Position, /) -> None:
        """As in the contract."""
        if not self.is_told:
            self.is_told = True
            self.drain.arrived(self)

    def set_exception(self, error: QueueError, /) -> None:
        """As in the contract."""
        if not self.is_told:
            self.is_told = True
            self.drain.returned(self, error)
