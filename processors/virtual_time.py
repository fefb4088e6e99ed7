"""An event loop whose clock jumps to the next timer when nothing else is to be done: hours pass in a moment.

For work that waits for nothing but timers and itself; it is then the same each time, too.
"""

import asyncio
import selectors
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

#: No more: asyncio asks for a clock that counts nanoseconds, which a float has no room for beside the years since 1970.
_BEGINNING_S = 1_000_000.0

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")


class _Jumping(selectors.DefaultSelector):
    """Instead of waiting it moves the clock on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = _BEGINNING_S

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("nothing is left that anybody waits for")
        self.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def run_in_executor(
        self, executor: object, function: Callable[[Unpack[_Arguments]], _Result], *arguments: *_Arguments
    ) -> "asyncio.Future[_Result]":
        """As in asyncio, but at once: a thread would need a time that passes."""
        future: asyncio.Future[_Result] = self.create_future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def time(self) -> float:
        """As in asyncio, but of the virtual clock."""
        return self._jumping.now

    def stand_still(self, seconds: float) -> None:
        """Let time pass in which the loop does nothing, as when somebody computes on it."""
        self._jumping.now += seconds
