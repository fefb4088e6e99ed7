"""Long work ends where it can be gone on with, when a person wants it to: at Ctrl-C, or SIGTERM."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from .running import heard
from .terminal.output import note


class Stop:
    """That a person wants it to end."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    @property
    def is_asked(self) -> bool:
        """Whether it was said."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Say it."""
        self._asked.set()

    async def within(self, seconds: float) -> bool:
        """Wait so long, or until it is said. Whether it was."""
        try:
            async with asyncio.timeout(seconds):
                await self._asked.wait()
        except TimeoutError:
            return False
        return True


@contextmanager
def ended_by_ctrl_c(stop: Stop) -> Iterator[None]:
    """Ctrl-C, or SIGTERM, asks for the end meanwhile; once more, it gives up what a gone queue never takes."""
    task = asyncio.current_task()

    def ask() -> None:
        if stop.is_asked and task is not None:
            task.cancel()
        elif not stop.is_asked:
            note("it ends when the queue has what is under way; Ctrl-C again gives that up")
        stop.ask()

    with heard(ask):
        yield
