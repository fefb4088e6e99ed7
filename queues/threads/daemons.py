"""Threads for calls that may never come back: none keeps the process from ending, as a pool's would."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def begun(call: Callable[[], T], name: str) -> Future[T]:
    """Have it called in a thread of its own; whoever waits for the result may give that up at any time."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()
    Thread(target=_call, args=(call, future), name=name, daemon=True).start()
    return future


def _call(call: Callable[[], T], future: Future[T]) -> None:
    try:
        result = call()
    except BaseException as error:  # whatever it is, it belongs to who waits
        future.set_exception(error)
    else:
        future.set_result(result)


class Threads(Executor):
    """At most so many threads, each made when it is needed. Used on the event loop."""

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = Semaphore(0)
        self._count = 0

    def submit(self, call: Callable[P, T], /, *values: P.args, **named: P.kwargs) -> Future[T]:
        """As in `Executor`."""
        future: Future[T] = Future()
        self._put(partial(_call_unless_cancelled, partial(call, *values, **named), future))
        return future

    def end(self, last: Callable[[], object]) -> Future[object]:
        """Let them end behind what was submitted, and behind this, which is called whoever gives up waiting for it."""
        future: Future[object] = Future()
        future.set_running_or_notify_cancel()
        self._put(partial(_call, last, future))
        self.shutdown()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let them end behind what was submitted. It is never waited for."""
        for _ in range(self._count):
            self._calls.put(None)

    def _put(self, call: Callable[[], None]) -> None:
        self._calls.put(call)
        if not self._idle.acquire(blocking=False) and self._count < self._most:
            try:
                Thread(target=self._run, name=self._name, daemon=True).start()
            except RuntimeError:
                # The system has no room for one just now: those that are there do it in their turn.
                if not self._count:
                    self._calls.get_nowait()
                    raise
            else:
                self._count += 1

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            # Nothing of it stays alive until the next comes.
            del call
            self._idle.release()


def _call_unless_cancelled(call: Callable[[], Any], future: Future[Any]) -> None:
    if future.set_running_or_notify_cancel():
        _call(call, future)
