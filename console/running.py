"""One way to run a coroutine from a command."""

from asyncio import AbstractEventLoop, CancelledError, Runner
from collections.abc import Callable, Coroutine
from typing import TypeVar

T = TypeVar("T")


def run(work: Coroutine[object, object, T]) -> T:
    """Run to the end on a new, fast loop. What was given up by Ctrl-C ends as that."""
    import uvloop

    factory: Callable[[], AbstractEventLoop] = uvloop.new_event_loop
    with Runner(loop_factory=factory) as runner:
        try:
            return runner.run(work)
        except CancelledError:
            raise KeyboardInterrupt from None
