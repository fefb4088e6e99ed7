"""The order in which the spool is drained: a line for each portal, of which only the first record may be under way."""

from collections import deque
from collections.abc import Container
from itertools import islice, takewhile

from .kept import Head


class Lanes:
    """What was read from the spool and is not gone yet. Pure."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Head]] = {}
        #: Portals whose first record waits to be sent.
        self._free: deque[str] = deque()
        #: All in the order of the spool; those that are done meanwhile leave when they are the oldest.
        self._order: deque[Head] = deque()
        self._done: set[int] = set()

    def __len__(self) -> int:
        return len(self._order) - len(self._done)

    def add(self, head: Head) -> None:
        """A record that came after all that were added before."""
        line = self._lines.setdefault(head.key, deque())
        if not line:
            self._free.append(head.key)
        line.append(head)
        self._order.append(head)

    def take(self) -> Head | None:
        """The next record that may be sent; it is under way until `done` or `again`."""
        return self._lines[self._free.popleft()][0] if self._free else None

    def behind(self, head: Head, limit: int) -> list[Head]:
        """So many at most of those that follow it in its portal's line, up to one about which somebody else decides."""
        line = islice(self._lines[head.key], 1, 1 + limit)
        return list(takewhile(lambda one: not one.owner, line))

    def done(self, head: Head, ready: Container[int] = ()) -> Head | None:
        """The record is gone: the next of its portal may be sent. If it is ready, it is taken at once, and returned."""
        line = self._lines[head.key]
        line.popleft()
        self._done.add(head.seq)
        if not line:
            del self._lines[head.key]
        elif line[0].seq in ready:
            return line[0]
        else:
            self._free.append(head.key)
        return None

    def again(self, head: Head) -> None:
        """The record was surely not delivered: it is still its portal's first."""
        self._free.append(head.key)

    @property
    def oldest(self) -> Head | None:
        """The first in the order of the spool."""
        while self._order and self._order[0].seq in self._done:
            self._done.remove(self._order.popleft().seq)
        return self._order[0] if self._order else None
