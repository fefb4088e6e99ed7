"""Whether the clock that the members of a group go by has leapt forwards, as when it is first set."""

from collections.abc import Callable

from .leases import since_boot

_MS = 1000

#: Nobody's session is as long (`session_s` is half of it at most), unless one's own is: what a member would have said
#: for longer, it has said by another clock.
FARTHEST_MS = 600_000

#: Leases are said again three times in a session, and bear no more than that.
_LEAPS_A_SESSION = 3


class Leaps:
    """Holds that clock against one that nobody can set.

    When it leaps, all leases seem to be over, those of members that live, too. For a session they are to be judged as
    if it had not: who lives says so again meanwhile.
    """

    def __init__(self, session_ms: int, steady: Callable[[], float] = since_boot) -> None:
        self.steady, self._session_ms = steady, session_ms
        #: How far that clock was ahead of the steady one at the last look, at most.
        self._ahead_ms: float | None = None
        self._leapt_ms, self._until_ms = 0.0, 0.0

    def leapt_ms(self, now_ms: int, asked_at: float) -> int:
        """By how much, within the last session: `now_ms` is what it said, and `asked_at` the steady one before that.

        To be asked at each look. An answer that is late, whether on its way to there or back, is no leap.
        """
        steady_ms = self.steady() * _MS
        if steady_ms >= self._until_ms:
            self._leapt_ms = 0.0
        leapt_ms = now_ms - steady_ms - self._ahead_ms if self._ahead_ms is not None else 0.0
        self._ahead_ms = now_ms - asked_at * _MS
        if leapt_ms > self._session_ms / _LEAPS_A_SESSION:
            self._leapt_ms += leapt_ms
            self._until_ms = steady_ms + self._session_ms
        return round(self._leapt_ms)
