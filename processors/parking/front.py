"""Up to where the spilled records of a portal are finished, which they may be in any order."""

from collections import deque

from .state import PortalState

#: So many records that are done before their turn are told; after a crash those beyond come again. It is written with
#: every state, and must not make that long.
_TOLD_DONE = 500


class Front:
    """The first spilled records that are not all finished, as far as they were read, and which of all are done."""

    __slots__ = ("_known", "after", "done", "lap", "position")

    def __init__(self, state: PortalState) -> None:
        #: Position, offset and lap.
        self._known: deque[tuple[int, int, int]] = deque()
        #: Offsets of records that are finished although one before them is not, or they are not spilled yet.
        self.done = set(state.done)
        #: From where on the next one is looked for, and the offset and the lap of the spilled record before it.
        self.position, self.after, self.lap = state.next, state.after, state.after_lap

    def __len__(self) -> int:
        return len(self._known)

    def reach(self, position: int, offset: int, lap: int) -> None:
        """The next one was read, or is known to stand there."""
        self._known.append((position, offset, lap))
        self.position, self.after, self.lap = position + 1, offset, lap

    def advance(self, state: PortalState) -> bool:
        """Let the state begin where the first record stands that is not finished. Whether it moved."""
        before = len(self._known)
        while self._known and self._known[0][1] in self.done:
            position, offset, lap = self._known.popleft()
            self.done.discard(offset)
            state.advance(position, offset, lap)
        return len(self._known) < before

    def read_again(self, state: PortalState) -> None:
        """What is there will be read from the state's beginning on; what is done is done."""
        self._known.clear()
        self.position, self.after, self.lap = state.next, state.after, state.after_lap

    def forget(self, offset: int) -> None:
        """Of what was not read, nothing from the offset on is done: others may come that have such offsets, too."""
        known = {one for _, one, _ in self._known}
        self.done = {one for one in self.done if one < offset or one in known}

    def told(self) -> list[int]:
        """What is done, for the state."""
        # The lowest: who reads it goes on from there, and none comes again behind a newer one that doesn't.
        return sorted(self.done)[:_TOLD_DONE]
