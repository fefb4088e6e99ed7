"""What one lane may do before it gives way to the next."""

from collections.abc import Callable

from .crashes.caution import Care

#: A lane gives way after so many records, so that a flood of one portal starves nobody…
TURN_RECORDS = 64
#: …or after so many seconds.
TURN_S = 0.02


class Turn:
    """Of one lane."""

    __slots__ = ("cancelling", "care", "clock", "iteration", "left", "until")

    def __init__(
        self, clock: Callable[[], float], cancelling: Callable[[], int], iteration: int, care: Care | None = None
    ) -> None:
        #: How its one record is to be handled, after a worker was ended in the middle of its work.
        self.care = care
        #: Not 0 when a handler has cancelled its task, which is the slot's, and may not have met it yet.
        self.cancelling = cancelling
        self.clock = clock
        self.begin(iteration)
        if care is not None:
            self.left = 1

    def begin(self, iteration: int) -> None:
        """From here on, in this iteration of the event loop."""
        self.iteration, self.until = iteration, self.clock() + TURN_S
        #: So many records more.
        self.left = TURN_RECORDS

    def goes_on(self) -> bool:
        """Count a record; False when the turn is over."""
        self.left -= 1
        return self.left > 0 and self.clock() < self.until
