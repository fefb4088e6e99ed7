"""What the event loop wants from the member's thread."""

from collections.abc import Callable
from queue import Empty, SimpleQueue

Command = Callable[[], None]


class Commands:
    """A queue of calls. `put`, `nudge` and `end` are for the loop, `obey` for the thread."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Command] = SimpleQueue()
        #: The thread shall come to its end.
        self.is_over = False

    def put(self, command: Command) -> None:
        """Have it called in the thread, within a poll's time at most."""
        self._waiting.put(command)

    def nudge(self) -> None:
        """Only wake the thread, if it waits in `obey`."""
        self._waiting.put(_nothing)

    def end(self) -> None:
        """The thread shall come to its end."""
        self.is_over = True
        self.nudge()

    def obey(self, wait_s: float = 0) -> None:
        """Call what waits; when nothing does, wait for a command so long."""
        try:
            command = self._waiting.get(timeout=wait_s) if wait_s else self._waiting.get_nowait()
            while True:
                command()
                command = self._waiting.get_nowait()
        except Empty:
            return


def _nothing() -> None:
    """Only wakes the thread."""
