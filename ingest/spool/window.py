"""What is under way from the spool to the queue, and how much more may be."""

from .kept import Head

#: Records under way at once, their bytes, and how many more are begun in one step.
MOST = 2048
_BYTES = 16 << 20
_A_STEP = 512

#: While the queue is not known to be there, so many try it, and as many more each second: what was tried first may be
#: what a part of the queue keeps for long.
_TRIES = 16
_TRY_S = 1.0


class Window:
    """Pure."""

    def __init__(self) -> None:
        self._under_way: dict[int, Head] = {}
        self._size = 0
        self._tries: set[int] = set()
        self._next_tries = 0.0

    def __len__(self) -> int:
        return len(self._under_way)

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

    def add(self, head: Head, *, is_try: bool) -> None:
        """The record is begun."""
        self._under_way[head.seq] = head
        self._size += head.size
        if is_try:
            self._tries.add(head.seq)

    def remove(self, head: Head) -> None:
        """It is not under way any more."""
        del self._under_way[head.seq]
        self._size -= head.size
