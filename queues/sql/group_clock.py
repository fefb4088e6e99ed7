"""The clock that the members of a group go by, as one of them sees it: whoever sets it takes nobody's partitions."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from ..groups.leaps import FARTHEST_MS, Leaps
from ..groups.leases import since_boot


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
    """Tells by it what is over, also when somebody sets it."""

    def __init__(
        self, now_ms: Callable[[Connection], int], session_ms: int, steady: Callable[[], float] = since_boot
    ) -> None:
        self.now_ms, self._session_ms, self._leaps = now_ms, session_ms, Leaps(session_ms, steady)

    def look(self, connection: Connection) -> Moment:
        """What time it is."""
        asked_at = self._leaps.steady()
        now_ms = self.now_ms(connection)
        leapt_ms = self._leaps.leapt_ms(now_ms, asked_at)
        farthest_ms = now_ms + max(FARTHEST_MS, 2 * self._session_ms)
        return Moment(now_ms=now_ms, over_ms=now_ms - leapt_ms, farthest_ms=farthest_ms)
