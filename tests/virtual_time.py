"""An event loop whose clock jumps to the next timer when nothing else is to be done: hours pass in a moment.

For work that waits for nothing but timers and itself; it is then the same each time, too.
"""

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any


class _Jumping(selectors.DefaultSelector):
    """Instead of waiting it moves the clock on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("nothing is left that anybody waits for")
        self.now += timeout
        return super().select(0)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return super().get_map()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """As in asyncio, but of the virtual clock."""
        return self._jumping.now

    def stand_still(self, seconds: float) -> None:
        """Let time pass in which the loop does nothing, as when somebody computes on it."""
        self._jumping.now += seconds
