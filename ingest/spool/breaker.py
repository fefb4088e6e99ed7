"""Whether events are given to the queue, or to the spool before it."""

import math
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

#: When the queue was late, events go to the spool for so long at least. A part of it that hangs, or a wire that is slow
#: now and then, would otherwise hold up some calls for the whole deadline again and again.
_STEADY_S = 2.0


class Breaker:
    """Closed, open or half-open.

    Closed, events go to the queue. Open, they go to the spool, and a few of those are tried. Half-open, the queue takes
    events, but was just too late for a call that waits: all go through the spool, as fast as the queue takes them. An
    acknowledgement in time closes it, unless the queue was late within the last two seconds.

    `acknowledged` is a number that grows when another process of this host heard one that closes it. Without
    `deadline_s` nothing is late.
    """

    def __init__(
        self,
        acknowledged: Callable[[], int],
        deadline_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._acknowledged, self._deadline_s, self._clock = acknowledged, deadline_s, clock
        self._seen = 0
        self._late_at = -math.inf
        self._is_half_open = False
        #: Why it is not closed; empty while it is.
        self.why = ""

    @property
    def is_open(self) -> bool:
        """Whether calls pass the queue by: open, or half-open."""
        if self.why and (acknowledged := self._acknowledged()) != self._seen:
            self._seen = acknowledged
            self._took()
        return bool(self.why)

    @property
    def is_trying(self) -> bool:
        """Whether the queue is not known to take anything: open, and not half-open."""
        return self.is_open and not self._is_half_open

    def open(self, why: str) -> None:
        """The queue takes nothing. What was acknowledged before counts no more."""
        if not self.why:
            log.warning("the queue takes nothing; events go to the spool", reason=why)
        self.why, self._seen, self._is_half_open = why, self._acknowledged(), False

    def late(self) -> None:
        """The queue took longer than the deadline, or takes longer still."""
        self._late_at = self._clock()

    def acknowledged(self, since: float) -> bool:
        """The queue has acknowledged what it was given then; whether other processes may give it events, too."""
        is_late = self._clock() - since > self._deadline_s
        if is_late:
            self.late()
        if self.why:
            self._took()
        return not (is_late or self.why)

    def _took(self) -> None:
        if self._clock() - self._late_at >= _STEADY_S:
            self.close()
        elif not self._is_half_open:
            self._is_half_open = True
            log.info("the queue takes events, but later than ack_deadline_ms; they go through the spool")

    def close(self) -> None:
        """Events may go to the queue. Idempotent."""
        if self.why:
            log.info("the queue takes events again")
        self.why, self._is_half_open = "", False
