"""One way to run a coroutine from a command."""

from asyncio import AbstractEventLoop, Runner
from collections.abc import Callable, Coroutine
from typing import TypeVar

T = TypeVar("T")


def run(work: Coroutine[object, object, T]) -> T:
    """Run to the end on a new, fast loop."""
    import uvloop

    factory: Callable[[], AbstractEventLoop] = uvloop.new_event_loop
    with Runner(loop_factory=factory) as runner:
        return runner.run(work)
