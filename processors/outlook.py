"""What is known of a lane's records beyond the first, where handlers look further than that."""

from collections.abc import Sequence

from forebay.queues.contract import StoredRecord

from .folding import Folding

#: A batch of which nobody knows which event is to blame is given again with so much fewer at once.
_NARROWER = 4


class Outlook:
    """Of one lane, for as long as that has records."""

    __slots__ = ("failures", "folding", "has_waited", "in_hand", "limit", "per_s", "wanted")

    def __init__(self) -> None:
        #: The records of the call that is under way.
        self.in_hand: Sequence[StoredRecord] = ()
        #: The batch was waited for; it goes as it is.
        self.has_waited = False
        #: While the batch is waited for: with so many records it is full.
        self.wanted = 0
        #: While it is being found out which event sinks the batch: no more at once, and so many calls have failed.
        self.limit: int | None = None
        self.failures = 0
        #: Its budget lets it get through so many events a second, if it has one.
        self.per_s: float | None = None
        #: None while no handler of it folds.
        self.folding: Folding | None = None

    def narrow(self, events: int) -> None:
        """A call with so many events failed, and which is to blame is not known."""
        self.limit = max(1, events // _NARROWER)
        self.failures += 1

    def widen(self, batch: int) -> None:
        """A call went well."""
        self.has_waited, self.failures = False, 0
        if self.limit is not None:
            self.limit = self.limit * _NARROWER
            if self.limit >= batch:
                self.limit = None
