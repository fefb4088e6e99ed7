"""Up to where the spilled records of a portal are finished, which they may be in any order."""

from collections import deque

from .state import Mark, PortalState

#: So many records that are done before their turn are told; after a crash those beyond come again. It is written with
#: every state, and must not make that long.
_TOLD_DONE = 500


class Front:
    """The first spilled records that are not all finished, as far as they were read, and which of all are done."""

    __slots__ = ("_known", "before", "done", "position")

    def __init__(self, state: PortalState) -> None:
        #: Position and mark.
        self._known: deque[tuple[int, Mark]] = deque()
        #: Records that are finished although one before them is not, or they are not spilled yet.
        self.done: set[Mark] = {*((0, offset) for offset in state.done), *state.done_later}
        #: From where on the next one is looked for, and the spilled record before it.
        self.position, self.before = state.next, state.before

    def __len__(self) -> int:
        return len(self._known)

    def reach(self, position: int, mark: Mark) -> None:
        """The next one was read, or is known to stand there."""
        self._known.append((position, mark))
        self.position, self.before = position + 1, mark

    def advance(self, state: PortalState) -> bool:
        """Let the state begin where the first record stands that is not finished. Whether it moved."""
        before = len(self._known)
        while self._known and self._known[0][1] in self.done:
            position, mark = self._known.popleft()
            self.done.discard(mark)
            state.advance(position, mark)
        return len(self._known) < before

    def read_again(self, state: PortalState) -> None:
        """What is there will be read from the state's beginning on; what is done is done."""
        self._known.clear()
        self.position, self.before = state.next, state.before

    def tell(self, state: PortalState) -> None:
        """Let the state say what is done of what is spilled."""
        # One that is not spilled yet comes again after a crash, and with it those that were folded into it: told as
        # done it would not be the last of them. And the lowest: who reads it goes on from there, and none comes again
        # behind a newer one that doesn't.
        told = [mark for mark in sorted(self.done) if mark <= state.newest][:_TOLD_DONE]
        state.done = [offset for lap, offset in told if not lap]
        state.done_later = [mark for mark in told if mark[0]]
