"""Runs coroutines up to where they first wait, and from there to their ends, each in a context of its own."""

from collections.abc import Callable, Generator
from contextvars import Context
from types import coroutine
from typing import Any, TypeAlias


class Returned:
    """What a coroutine returned."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


#: Nearly all return nothing.
NOTHING = Returned(None)

#: Is sent a coroutine; gives a `Returned` when that is at its end, else what it awaits. Of no use once one has raised.
Runner: TypeAlias = Generator[Any, Any, None]


def new_runner() -> Runner:
    """One that may be sent the first coroutine."""
    runner = _one_after_the_other()
    runner.send(None)
    return runner


def _one_after_the_other() -> Runner:
    # A coroutine by itself tells of its end by an exception: that takes longer than many a handler. Of those that are
    # compiled, `__await__` is all that can be relied upon.
    returned: Returned | None = None
    while True:
        value = yield from (yield returned).__await__()
        returned = NOTHING if value is None else Returned(value)


@coroutine
def rest(runner: Runner, awaited: object, context: Context) -> Generator[object, Any, object]:
    """The runner's coroutine to its end, in its context: what `yield from` does (PEP 380), from the second step on."""
    step: Callable[[Any], object]
    while not isinstance(awaited, Returned):
        try:
            step, given = runner.send, (yield awaited)
        except GeneratorExit:
            runner.close()
            raise
        except BaseException as thrown:
            step, given = runner.throw, thrown
        try:
            awaited = context.run(step, given)
        except GeneratorExit as error:
            # As it is it would look like the closing of this coroutine (Python does the same to a StopIteration).
            raise RuntimeError("the handler raised GeneratorExit") from error
    return awaited.value
