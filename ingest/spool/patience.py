"""How long a file that can't be read is tried again, before it is taken for a damaged one."""

from collections.abc import Callable

#: Of a disk that can't be read for a moment SQLite says what it says of a damaged file.
PATIENCE_S = 10.0

#: A file that fails again later than that could be read in between.
_APART_S = 10.0


class Patience:
    """With the files of a spool, by their numbers. Once it is over, it does not come back."""

    def __init__(self, clock: Callable[[], float], patience_s: float = PATIENCE_S) -> None:
        self._clock, self._patience_s = clock, patience_s
        #: Since when it fails, and when it was tried last.
        self._failing: dict[int, tuple[float, float]] = {}
        self._over: set[int] = set()

    def may_pass(self, number: int) -> bool:
        """Whether what the file failed by just now may pass."""
        now = self._clock()
        since, last = self._failing.get(number, (now, now))
        if now - last > _APART_S:
            since = now
        self._failing[number] = since, now
        if now - since >= self._patience_s:
            self._over.add(number)
        return number not in self._over
