"""After a failure nothing is sent for a while: nothing at all, or nothing of one portal."""

from collections.abc import Callable

#: The first pause after a failure of the queue; each that follows is twice as long, up to the longest.
_FIRST_S = 0.1
_LONGEST_S = 2.0


class Pauses:
    """By a clock in seconds that never goes back. Pure."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pause_s, self._until = 0.0, 0.0
        self._resting: dict[str, float] = {}

    def queue_failed(self) -> None:
        """Nothing is sent for a while."""
        self._pause_s = min(self._pause_s * 2 or _FIRST_S, _LONGEST_S)
        self._until = self._clock() + self._pause_s

    def queue_took(self) -> None:
        """After the next failure the pause is the first again."""
        self._pause_s = 0.0

    def client_failed(self, portal: str) -> None:
        """Over a record of this portal, which says nothing of the queue: nothing of the portal is sent for a while."""
        self._resting[portal] = self._clock() + _LONGEST_S

    @property
    def is_over(self) -> bool:
        """Whether anything may be sent."""
        return self._clock() >= self._until

    def is_over_for(self, portal: str) -> bool:
        """Whether anything of this portal may be."""
        if self._resting.get(portal, 0.0) > self._clock():
            return False
        self._resting.pop(portal, None)
        return True
