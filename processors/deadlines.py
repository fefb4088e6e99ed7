"""Cancels what is over its time.

`asyncio.timeout` makes a timer for each call, which costs more than the rest of a call does. Calls of one deadline end
in the order in which they began, so one timer is enough for all of them.
"""

import asyncio

from .cancelling import Task, current_task


class Watch:
    """One task that has a deadline."""

    __slots__ = ("at", "is_over", "seconds", "task")

    def __init__(self, task: Task, seconds: float, at: float) -> None:
        self.task, self.seconds, self.at = task, seconds, at
        self.is_over = False


class Deadlines:
    """Watches the tasks of one event loop."""

    def __init__(self) -> None:
        #: Length of the deadline → what is watched, the oldest first. A line has a timer while its key is here.
        self._lines: dict[float, dict[Watch, None]] = {}
        #: Kept, as Python asks the system for the number of the process whenever it is asked for the loop.
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, seconds: float) -> Watch:
        """Cancel the current task after so long, unless `end` comes before."""
        loop = self._loop = self._loop or asyncio.get_running_loop()
        watch = Watch(current_task(loop), seconds, loop.time() + seconds)
        line = self._lines.get(seconds)
        if line is None:
            line = self._lines[seconds] = {}
            loop.call_at(watch.at, self._look, seconds)
        line[watch] = None
        return watch

    def end(self, watch: Watch) -> None:
        """The task is through with it. The line's timer stays: the next call is probably on its way."""
        if not watch.is_over:
            del self._lines[watch.seconds][watch]

    def _look(self, seconds: float) -> None:
        line, loop = self._lines[seconds], asyncio.get_running_loop()
        # A timer may come by its resolution too early; then it comes once more.
        due = [watch for watch in line if watch.at <= loop.time()]
        for watch in due:
            watch.is_over = True
            watch.task.cancel()
            del line[watch]
        if line:
            loop.call_at(next(iter(line)).at, self._look, seconds)
        else:
            del self._lines[seconds]
