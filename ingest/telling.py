"""What the log hears of refused calls: so much that it can't be flooded, whoever calls."""

import time
from collections.abc import Callable

from forebay.schemas.logger import get_logger

log = get_logger(__name__)

#: So many lines at once, and then one a second: enough to see what is wrong, and 90,000 a day at the most.
_AT_ONCE = 50
_A_SECOND = 1.0


class Teller:
    """Writes a line, or counts it for the next one that is written. The metrics have every call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left, self._at = float(_AT_ONCE), clock()
        self._unwritten = 0

    def warn(self, sentence: str, **words: object) -> None:
        """Say it, and how many were left out before, unless too much was said just now."""
        now = self._clock()
        self._left = min(float(_AT_ONCE), self._left + (now - self._at) * _A_SECOND)
        self._at = now
        if self._left < 1:
            self._unwritten += 1
            return
        self._left -= 1
        if self._unwritten:
            words["left_out_before"] = self._unwritten
            self._unwritten = 0
        log.warning(sentence, **words)
