"""An event loop that stands still between any two of its calls, while another thread goes on."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple, Unpack

from forebay.processors.virtual_time import VirtualLoop

_Arguments = TypeVarTuple("_Arguments")


class SteppingLoop(VirtualLoop):
    """The other thread is the test's own: the loop goes on where that one calls it, or is told to."""

    #: asyncio's own: what is to be called, in its order.
    _ready: deque[asyncio.Handle]

    def __init__(self, go_on: Callable[[], None]) -> None:
        super().__init__()
        self._go_on, self._is_stepping = go_on, False

    @property
    def is_busy(self) -> bool:
        """Whether who asks is called by the loop."""
        return self.is_running() or self._is_stepping

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[_Arguments]], object], *args: *_Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        """As in asyncio, but what the loop does just before comes first."""
        self._go_on()
        return super().call_soon_threadsafe(callback, *args, context=context)

    def step(self, most: int) -> None:
        """Call the next of what is to be called, and no more."""
        asyncio._set_running_loop(self)
        self._is_stepping = True
        try:
            for _ in range(min(most, len(self._ready))):
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            self._is_stepping = False
            asyncio._set_running_loop(None)
