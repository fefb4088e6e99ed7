"""What is under way from the spool to the queue, and how much more may be."""

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from .kept import Head

#: Records under way at once, their bytes, and how many more are begun in one step.
MOST = 2048
_BYTES = 16 << 20
_A_STEP = 512

#: While the queue is not known to be there, so many try it, and as many more each second: what was tried first may be
#: what a part of the queue keeps for long.
_TRIES = 16
_TRY_S = 1.0


@dataclass(slots=True)
class _Part:
    """A part of the queue that may take nothing while the others do: a partition."""

    records: int = 0
    size: int = 0
    waiting: deque[Head] = field(default_factory=deque)


class Window:
    """A part of the queue may have as much under way as is left then, so that something always is. Pure."""

    def __init__(self, part_of: Callable[[str], Hashable]) -> None:
        self._part_of = part_of
        self._parts: dict[Hashable, _Part] = {}
        self._under_way: dict[int, Head] = {}
        self._size = 0
        self._tries: set[int] = set()
        self._next_tries = 0.0

    def room(self, now: float, *, is_trying: bool) -> int:
        """How many records may be begun now, by a clock in seconds that never goes back."""
        room = min(MOST - len(self._under_way), _A_STEP)
        if not is_trying:
            return room
        self._tries &= self._under_way.keys()
        if now >= self._next_tries:
            self._tries.clear()
            self._next_tries = now + _TRY_S
        return min(room, _TRIES - len(self._tries))

    @property
    def is_full(self) -> bool:
        """Whether there is no room by its bytes."""
        return self._size >= _BYTES

    def keeps_waiting(self, head: Head) -> bool:
        """Whether its part of the queue has enough under way; then it comes back in `freed`."""
        part = self._parts.setdefault(self._part_of(head.key), _Part())
        if self._left(part) > 0:
            return False
        part.waiting.append(head)
        return True

    def _left(self, part: _Part) -> int:
        records = MOST - len(self._under_way) - part.records
        return records if part.size < _BYTES - self._size else 0

    def freed(self) -> Iterator[Head]:
        """Those that waited, and need not any more."""
        for part in self._parts.values():
            for _ in range(min(self._left(part), len(part.waiting))):
                yield part.waiting.popleft()

    def add(self, head: Head, *, is_try: bool) -> None:
        """The record is begun."""
        self._under_way[head.seq] = head
        self._count(head, 1)
        if is_try:
            self._tries.add(head.seq)

    def remove(self, head: Head) -> None:
        """It is not under way any more."""
        del self._under_way[head.seq]
        self._count(head, -1)

    def _count(self, head: Head, sign: int) -> None:
        of = self._part_of(head.key)
        part = self._parts.setdefault(of, _Part())
        self._size += sign * head.size
        part.records += sign
        part.size += sign * head.size
        if not part.records and not part.waiting:
            del self._parts[of]
