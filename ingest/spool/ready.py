"""Records that were read ahead of their turn, bounded in bytes."""

from .kept import Head, Kept


class Ready:
    """Each follows one of its portal that is under way. Pure."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._kept: dict[int, tuple[Head, Kept]] = {}

    def __contains__(self, seq: object) -> bool:
        """Whether the record of that number was read."""
        return seq in self._kept

    @property
    def room(self) -> int:
        """How many bytes more may be read."""
        return self._max_bytes - self._size

    def add(self, head: Head, kept: Kept) -> None:
        """A record that is not there yet."""
        self._kept[head.seq] = head, kept
        self._size += head.size

    def take(self, seq: int) -> Kept | None:
        """The record of that number, which is its portal's first by now; None if it was not read."""
        head, kept = self._kept.pop(seq, (None, None))
        self._size -= head.size if head else 0
        return kept

    def clear(self) -> None:
        """Forget them: they stand in the spool all the same."""
        self._kept.clear()
        self._size = 0
