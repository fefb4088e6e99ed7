"""Signs of life in a group: ours, which hold what we own until a moment, and those of the others, which may fail."""

from collections.abc import Callable

from . import group as entries
from .group import Group

#: Signs of life in a session: two may fail before it is over.
_BEATS_A_SESSION = 3


class Signs:
    """Those that one member gives and sees. All times are its own clock's."""

    def __init__(self, write: Callable[[bytes], None], session_s: float, now_ms: Callable[[], int]) -> None:
        self._write, self._session_s, self._now_ms = write, session_s, now_ms
        #: The moment at which our last sign of life is too old: others may have missed us.
        self.until = 0.0
        self._next = 0.0
        self._number = 0
        #: When ours were written, and when we last saw one of each member.
        self._written: dict[int, float] = {}
        self._seen: dict[str, float] = {}
        self._missed: dict[str, int] = {}

    def give(self, me: str, now: float) -> None:
        """Say that we live, if it is time to. Raises `QueueUnavailable`."""
        if now < self._next:
            return
        # Soon again, if this one fails; and no later than it must, if it doesn't.
        self._next = now + self._session_s / _BEATS_A_SESSION
        self._number += 1
        self._written[self._number] = now
        self._write(entries.beat(me, round(self._session_s * 1000), self._now_ms(), self._number))

    def read(self, who: str, number: int, now: float, *, is_ours: bool) -> None:
        """One was read."""
        self._seen[who] = now
        if is_ours and (written := self._written.pop(number, None)) is not None:
            self.until = max(self.until, written + self._session_s)

    def begin(self) -> None:
        """From now on they are somebody else's: those that are on their way are not ours any more."""
        self._written.clear()
        self._next = 0.0

    def refused(self) -> None:
        """What we wrote last may not be there."""
        self._missed.clear()

    def miss(self, me: str, group: Group, now: float) -> None:
        """Say of whom nothing was heard for longer than he said."""
        self._seen = {name: self._seen.get(name, now) for name in group.members}
        for name, sign in group.members.items():
            is_silent = now - self._seen[name] > sign.session_ms / 1000
            if is_silent and name != me and self._missed.get(name) != sign.offset:
                self._missed[name] = sign.offset
                self._write(entries.miss(name, sign.offset))
