"""Notices when the wall clock is set."""

import time
from collections.abc import Callable

#: It is set back by less now and then, and the threads of librdkafka, which wait by it, lose no more than that.
SET_BACK_S = 5.0


class WallClock:
    """The clock that people set, held against the one that nobody can."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._steady = wall, steady
        self._behind_s = steady() - wall()

    def set_back_s(self) -> float:
        """By how many seconds it was set back since this was last asked; negative when it was set forward."""
        behind_s = self._steady() - self._wall()
        set_s, self._behind_s = behind_s - self._behind_s, behind_s
        return set_s
