"""The clock that the members of a group go by, as one of them sees it: whoever sets it takes nobody's partitions."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from ..groups.leases import since_boot

_MS = 1000

#: Nobody's session is as long, unless ours is: what a member would have said for longer, it has said by another clock.
_FARTHEST_MS = 600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a member looks at its group, in milliseconds since the epoch."""

    #: What is said now begins here.
    now_ms: int
    #: A lease that ends by then is over.
    over_ms: int
    #: One that ends later was said before the clock was set back.
    farthest_ms: int


class GroupClock:
    """Looks at it, and holds it against one that nobody can set.

    When it leaps forwards, all leases seem to be over, those of members that live, too: they are judged as if it had
    not, for a session, in which who lives says so again.
    """

    def __init__(
        self, now_ms: Callable[[Connection], int], session_ms: int, steady: Callable[[], float] = since_boot
    ) -> None:
        self.now_ms, self._session_ms, self._steady = now_ms, session_ms, steady
        self._ahead_ms: float | None = None
        self._leapt_ms, self._until_ms = 0.0, 0.0

    def look(self, connection: Connection) -> Moment:
        """What time it is."""
        # Before the other one is asked, which takes its time: so no answer that is late is a leap.
        steady_ms = self._steady() * _MS
        now_ms = self.now_ms(connection)
        self._compare(now_ms, steady_ms)
        farthest_ms = now_ms + max(_FARTHEST_MS, 2 * self._session_ms)
        return Moment(now_ms=now_ms, over_ms=now_ms - round(self._leapt_ms), farthest_ms=farthest_ms)

    def _compare(self, now_ms: int, steady_ms: float) -> None:
        if steady_ms >= self._until_ms:
            self._leapt_ms = 0.0
        ahead_ms, before_ms = now_ms - steady_ms, self._ahead_ms
        self._ahead_ms = ahead_ms
        # Leases bear a third of a session: so often they are said again.
        if before_ms is not None and ahead_ms - before_ms > self._session_ms / 3:
            self._leapt_ms += ahead_ms - before_ms
            self._until_ms = steady_ms + self._session_ms
