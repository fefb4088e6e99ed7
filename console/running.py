"""One way to run a coroutine from a command."""

import signal
from asyncio import AbstractEventLoop, CancelledError, Runner, Task, current_task, get_running_loop
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from inspect import CORO_CREATED, getcoroutinestate
from typing import TypeVar, cast

T = TypeVar("T")

#: A person ends a command by Ctrl-C, and a machine by SIGTERM.
ENDING = (signal.SIGINT, signal.SIGTERM)


def stops() -> list[signal.Signals]:
    """What stops a process that runs until it is told to: those, and the end of its terminal.

    Unless it is to outlive that: `nohup` has the signal ignored, and so it stays.
    """
    is_to_stay = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [*ENDING] if is_to_stay else [*ENDING, signal.SIGHUP]


def run(work: Coroutine[object, object, T]) -> T:
    """Run to the end on a new, fast loop. What was given up by Ctrl-C ends as that, and so does what SIGTERM ended."""
    begun = _ended_by_sigterm(work)
    try:
        from forebay.queues.threads.loop import new_event_loop

        factory: Callable[[], AbstractEventLoop] = new_event_loop
        with Runner(loop_factory=factory) as runner:
            try:
                return runner.run(begun)
            except CancelledError:
                raise KeyboardInterrupt from None
    finally:
        for one in (begun, work):
            # What Ctrl-C ends before its first step, as while the loop is made, Python would tell as a fault.
            if getcoroutinestate(one) == CORO_CREATED:
                one.close()


async def _ended_by_sigterm(work: Coroutine[object, object, T]) -> T:
    # Only a main thread hears of signals.
    with suppress(ValueError, RuntimeError):
        _let_sigterm_end(get_running_loop(), cast("Task[T]", current_task()))
    return await work


@contextmanager
def heard(ask: Callable[[], object]) -> Iterator[None]:
    """Meanwhile, Ctrl-C and SIGTERM ask for an end only; afterwards they end the command again."""
    loop, task = get_running_loop(), cast("Task[object]", current_task())
    of_the_runner = signal.getsignal(signal.SIGINT)
    for number in ENDING:
        loop.add_signal_handler(number, ask)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, of_the_runner)
        _let_sigterm_end(loop, task)


def _let_sigterm_end(loop: AbstractEventLoop, task: "Task[T]") -> None:
    def end() -> None:
        if not task.cancel():
            # The work has ended, and what it has left behind, as a thread, is waited for.
            loop.remove_signal_handler(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)

    loop.add_signal_handler(signal.SIGTERM, end)
