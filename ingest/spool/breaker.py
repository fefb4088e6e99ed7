"""Whether events are given to the queue, or to the spool before it."""

import math
import time
from collections.abc import Callable

from forebay.schemas.logger import get_logger

log = get_logger(__name__)

#: A queue that lets a call wait in vain soon after another one is passed by for so long, each time for twice as long: a
#: part of it that hangs, or a wire that is slow now and then, would hold up calls again and again otherwise.
_FIRST_S = 0.5
_LONGEST_S = 10.0
_SOON_S = 2 * _LONGEST_S


class Breaker:
    """Closed, open or half-open.

    Closed, events go to the queue. Open, they go to the spool, and a few of those are tried. Half-open, the queue takes
    events, but is too slow for a call that waits: all go through the spool, as fast as the queue takes them. The first
    acknowledgement in time closes it, or the end of the pause that calls which waited in vain have brought about. Where
    only late ones came, and then none, it closes after ten seconds.

    `acknowledged` is a number that grows when another process of this host heard one that closes it. Without
    `deadline_s` all are in time. With `why` it begins open, as before a queue is opened: nothing is wrong then, and
    nothing is told.
    """

    def __init__(
        self,
        acknowledged: Callable[[], int],
        deadline_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
        *,
        why: str = "",
    ) -> None:
        self._acknowledged, self._deadline_s, self._clock = acknowledged, deadline_s, clock
        self._seen = acknowledged()
        self._is_half_open = False
        self._pause_s, self._over_at, self._late_at = 0.0, -math.inf, -math.inf
        #: When it closes, while it is half-open and nothing more is heard.
        self._ends_at = math.inf
        #: Why it is not closed; empty while it is.
        self.why = why
        #: Whether it was told that it is not.
        self._is_told = False

    @property
    def is_open(self) -> bool:
        """Whether calls pass the queue by: open, or half-open."""
        if self.why and (acknowledged := self._acknowledged()) != self._seen:
            self._seen = acknowledged
            self._took(in_time=True)
        elif self._is_half_open and self._clock() >= self._ends_at:
            self.close()
        return bool(self.why)

    @property
    def is_trying(self) -> bool:
        """Whether the queue is not known to take anything: open, and not half-open."""
        return self.is_open and not self._is_half_open

    def open(self, why: str, *, is_late: bool = False) -> None:
        """The queue takes nothing, or too late: a call waited in vain. What was acknowledged before counts no more."""
        if is_late:
            self._pause()
        if not self.why:
            log.warning("the queue takes nothing; events go to the spool", reason=why)
            self._is_told = True
        self.why, self._seen, self._is_half_open = why, self._acknowledged(), False

    def _pause(self) -> None:
        now = self._clock()
        is_soon = now - self._late_at < _SOON_S
        self._pause_s = min(self._pause_s * 2 or _FIRST_S, _LONGEST_S) if is_soon else 0.0
        self._late_at, self._over_at = now, now + self._pause_s

    def acknowledged(self, since: float) -> bool:
        """The queue has acknowledged what it was given then; whether other processes may give it events, too."""
        in_time = self._clock() - since <= self._deadline_s
        if self.why:
            self._took(in_time)
        return in_time and not self.why

    def _took(self, in_time: bool) -> None:
        now = self._clock()
        self._ends_at = self._over_at if in_time else max(self._over_at, now + _LONGEST_S)
        if now >= self._ends_at:
            self.close()
        elif not self._is_half_open:
            self._is_half_open = True
            log.info("the queue takes events, but was late just now; they go through the spool")

    def close(self) -> None:
        """Events may go to the queue. Idempotent."""
        if self._is_told:
            log.info("the queue takes events again")
        self.why, self._is_half_open, self._is_told = "", False, False
