"""The order in which the spool is drained: a line for each portal, whose records are under way in their order."""

from collections import deque
from collections.abc import Iterator

from .kept import Head

#: A portal has one record under way at first; each that the queue takes allows one more, as TCP begins. So a portal
#: whose partition takes nothing has a single place, and one that sends much does not wait for each answer.
_FIRST, _MOST = 1, 256


class _Line:
    """One portal's. What comes back waits until nothing of the portal is under way, and then is first again."""

    __slots__ = ("held", "is_free", "limit", "returned", "under_way", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Head] = deque()
        self.under_way: dict[int, Head] = {}
        self.returned: list[Head] = []
        self.limit = _FIRST
        #: The number of one that was taken, and that nothing may follow.
        self.held: int | None = None
        #: Whether it stands among those of which one may be taken.
        self.is_free = False

    @property
    def may_go(self) -> bool:
        """Whether its next one may be taken."""
        return bool(self.waiting) and self.held is None and not self.returned and len(self.under_way) < self.limit


class Lanes:
    """What was read from the spool and is not gone yet. Pure."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._free: deque[str] = deque()
        #: All in the order of the spool; those that are done meanwhile leave when they are the oldest.
        self._order: deque[Head] = deque()
        self._done: set[int] = set()

    def __len__(self) -> int:
        return len(self._order) - len(self._done)

    def __iter__(self) -> Iterator[Head]:
        return (head for head in self._order if head.seq not in self._done)

    def add(self, head: Head) -> None:
        """A record that came after all that were added before."""
        line = self._lines.setdefault(head.key, _Line())
        line.waiting.append(head)
        self._order.append(head)
        self._free_if_it_may_go(head.key, line)

    def take(self) -> Head | None:
        """The next record that may be sent, of one portal after the other; it is under way until `done` or `again`."""
        while self._free:
            key = self._free.popleft()
            line = self._lines.get(key)
            if line is None or not line.is_free:
                continue
            line.is_free = False
            if line.may_go:
                head = line.waiting.popleft()
                line.under_way[head.seq] = head
                self._free_if_it_may_go(key, line)
                return head
        return None

    @property
    def has_next(self) -> bool:
        """Whether one may be taken, as far as is known without taking it."""
        return bool(self._free)

    def hold(self, head: Head) -> None:
        """Of its portal nothing is to follow the record, which was taken last, until `done` or `release`."""
        self._lines[head.key].held = head.seq

    def done(self, head: Head) -> None:
        """The record is gone."""
        self._done.add(head.seq)
        line = self._lines[head.key]
        line.limit = min(line.limit + 1, _MOST)
        self._came_to_its_end(head, line)

    def again(self, head: Head) -> None:
        """The record was surely not delivered: it goes again, when all that followed it have come to their end too."""
        line = self._lines[head.key]
        line.limit = _FIRST
        line.returned.append(head)
        self._came_to_its_end(head, line)

    def release(self, head: Head) -> None:
        """What is held may be taken again: it was not sent."""
        line = self._lines[head.key]
        if line.returned:
            return self.again(head)
        del line.under_way[head.seq]
        line.held = None
        line.waiting.appendleft(head)
        self._free_if_it_may_go(head.key, line)

    def is_overtaking(self, head: Head) -> bool:
        """Whether one of its portal has come back since it was taken: sent now, it would stand before that one."""
        return bool(self._lines[head.key].returned)

    def _came_to_its_end(self, head: Head, line: _Line) -> None:
        del line.under_way[head.seq]
        if line.held == head.seq:
            line.held = None
        if not line.under_way:
            line.waiting.extendleft(sorted(line.returned, key=lambda one: one.seq, reverse=True))
            line.returned.clear()
            if not line.waiting:
                del self._lines[head.key]
        self._free_if_it_may_go(head.key, line)

    def _free_if_it_may_go(self, key: str, line: _Line) -> None:
        if line.may_go and not line.is_free:
            line.is_free = True
            self._free.append(key)

    @property
    def oldest(self) -> Head | None:
        """The first in the order of the spool."""
        while self._order and self._order[0].seq in self._done:
            self._done.remove(self._order.popleft().seq)
        return self._order[0] if self._order else None
