"""Threads of which one goes on at a time, from one place to the next, and only when it is told to."""

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_here = threading.local()


class Killed(BaseException):
    """The thread's process is no more."""


def pause(until: Callable[[], bool] = lambda: True) -> None:
    """Stand here until told to go on, which is no sooner than this is so. What is no such thread doesn't."""
    turn: Turn | None = getattr(_here, "turn", None)
    if turn is not None:
        turn.stand(until)


class Turn:
    """A thread. All but `stand` is called by who lets it go on."""

    def __init__(self, target: Callable[[], None]) -> None:
        self._target = target
        self._go, self._stands = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._stands.acquire()
        self._until: Callable[[], bool] = lambda: True
        self._is_killed = self.is_over = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        _here.turn = self
        try:
            self._wait()
            self._target()
        except Killed:
            """As it was to be."""
        except Exception as error:  # it is raised where the thread was let go on
            self._error = error
        finally:
            self.is_over = True
            self._stands.release()

    def stand(self, until: Callable[[], bool]) -> None:
        """In the thread itself."""
        self._until = until
        self._stands.release()
        self._wait()

    def _wait(self) -> None:
        self._go.acquire()
        if self._is_killed:
            raise Killed

    @property
    def is_ready(self) -> bool:
        """Whether it can go on."""
        return not self.is_over and self._until()

    def go_on(self) -> None:
        """To the next place where it stands."""
        self._go.release()
        self._stands.acquire()
        if self._error is not None:
            raise self._error

    def join(self) -> None:
        """As of a thread."""
        while not self.is_over:
            assert self.is_ready
            self.go_on()
        self._thread.join()

    def kill(self) -> None:
        """Let it do nothing more."""
        self._is_killed = True
        if not self.is_over:
            self.go_on()
        self._thread.join()


class Calls:
    """As a `SimpleQueue`, for such a thread."""

    def __init__(self) -> None:
        self._calls = deque[Callable[[], None] | None]()

    def put(self, call: Callable[[], None] | None) -> None:
        self._calls.append(call)

    def get(self) -> Callable[[], None] | None:
        pause(lambda: bool(self._calls))
        return self._calls.popleft()


class Event:
    """As a `threading.Event`, for such a thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._is_set = clock, False

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        pause()
        self._is_set = False
        pause()

    def wait(self, timeout: float) -> None:
        end = self._clock() + timeout
        pause(lambda: self._is_set or self._clock() >= end)
