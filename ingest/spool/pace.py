"""So many events a second of one portal: what is above it takes the slow lane, which is the spool."""

import time
from collections import OrderedDict
from collections.abc import Callable

#: Portals that are looked after at once. Of the others it is not known that they send much, and so they may go.
_MOST = 10_000


class Pace:
    """A bucket for each portal, full at first. Of a fixed size; used on one event loop."""

    def __init__(
        self, rate: float, burst: float, *, most: int = _MOST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._most, self._clock = rate, max(1.0, burst), most, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def takes(self, portal: str) -> bool:
        """Whether one more event of the portal may go now; if so, it is counted."""
        now = self._clock()
        left, at = self._buckets.get(portal, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        if left < 1:
            return False
        self._buckets[portal] = left - 1, now
        self._buckets.move_to_end(portal)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return True

    def __len__(self) -> int:
        return len(self._buckets)
