"""Whole states of a group: who lacks the beginning of the group's stream asks for one, and one member writes it.

One alone: with all at once, of a large group, the first states would be cut off before the last has been read.
"""

from collections.abc import Callable

from .chronicle import Chronicle

#: A state is written after so many bytes: a reader begins with one, and the stream keeps many times as much.
STATE_EVERY_BYTES = 262_144


class States:
    """What one member does about them."""

    def __init__(self, chronicle: Chronicle, write: Callable[[bytes], None], ask_every_s: float) -> None:
        self._chronicle, self._write, self._ask_every_s = chronicle, write, ask_every_s
        self._ask_at = 0.0
        self._is_on_its_way = False

    def read(self) -> None:
        """A state was read."""
        self._is_on_its_way = False

    def refused(self) -> None:
        """What we wrote last may not be there."""
        self._is_on_its_way, self._ask_at = False, 0.0

    def ask(self, now: float, wish: bytes) -> None:
        """Ask for a state when we lack one, and again when nobody has written it for long."""
        if not self._chronicle.is_lacking or now < self._ask_at:
            return
        self._write(wish)
        self._ask_at = now + self._ask_every_s

    def tell(self, me: str, position: int) -> None:
        """Write a state when somebody waits for it, or the last one is far behind, and it is for us to do so.

        A member that does not know the group yet owns nothing, and so is never the one.
        """
        is_due = self._chronicle.is_asked or self._chronicle.since_state > STATE_EVERY_BYTES
        first = min((owner.member for owner in self._chronicle.group.owners.values()), default=None)
        if is_due and first == me and not self._is_on_its_way:
            self._write(self._chronicle.group.packed(position))
            self._is_on_its_way = True
