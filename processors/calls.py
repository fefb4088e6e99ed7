"""Runs one handler with its deadline, and says how it ended. Nothing that a handler raises gets past here."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from inspect import isawaitable, iscoroutine
from typing import Any, Never, TypeAlias

from forebay.schemas.errors import UndecodableEvent
from forebay.schemas.event import PortalEvent, SecretsShredded
from forebay.schemas.logger import get_logger

from .cancelling import current_task, settle, take_back
from .cpu.pool import Processes
from .deadlines import Deadlines
from .errors import BadReturn, DeadlineExceeded, HandlerCancelled, Reject, Retry
from .forks import Here, end_a_copy
from .handlers import Given, Handler
from .health import Health
from .outcome import DONE, Done, Failed, Outcome, Rejected, RetryAsked, Undecodable
from .runners import NOTHING, Returned, new_runner, rest
from .threads import Threads

_log = get_logger(__name__)

#: An `async def` that computes for so long without an await holds up every other portal of the process.
_BLOCKED_S = 0.25

#: How a try ended, or when it waits for something, what to await to know.
Begun: TypeAlias = Outcome | Coroutine[Any, Any, Outcome]


def ended(begun: Begun) -> Coroutine[Any, Any, Outcome]:
    """What was begun, to its end."""
    return begun if isinstance(begun, Coroutine) else _settled(begun)


async def _settled(outcome: Outcome) -> Outcome:
    await settle(current_task())
    return outcome


async def at_once() -> None:
    """For those who may always begin."""


class Calls:
    """Calls handlers: `async def` on the loop, `def` in one of a bounded number of threads, or in a process."""

    def __init__(
        self,
        *,
        threads: int,
        deadline_s: float,
        processes: Processes | None = None,
        took: Callable[[str, float], None] = lambda handler, seconds: None,
        may_begin: Callable[[], Awaitable[None]] = at_once,
        is_still_certain: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
        health: Health | None = None,
    ) -> None:
        """`may_begin` and `is_still_certain` as in `Threads`."""
        self._deadline_s, self._took, self._clock, self._processes = deadline_s, took, clock, processes
        self._threads = Threads(
            threads,
            may_begin=may_begin,
            is_still_certain=is_still_certain,
            clock=clock,
            health=health or Health(),
        )
        self._deadlines = Deadlines()
        self._runner = new_runner()
        self._told: set[tuple[str, str]] = set()

    async def call(self, handler: Handler, event: Given) -> Outcome:
        """One try. An `async def` is cancelled at its deadline; a thread can't be, and is only reported as late."""
        return await ended(self.begin(handler, event))

    def begin(self, handler: Handler, event: Given) -> Begun:
        """One try, up to where it first waits: its outcome when it never does, else what to await for it.

        What it leaves of a cancellation then is the caller's to settle, as `ended` does.
        """
        if not handler.is_async:
            where = self._in_process if handler.options.cpu else self._in_thread
            return where(handler, event, handler.options.deadline_s or self._deadline_s)
        # Each call has a context of its own: what a handler sets in it must not reach the next portal's.
        context, runner = copy_context(), self._runner
        began = self._clock()
        try:
            came = context.run(runner.send, handler.function(event))
            if came is NOTHING:
                # Most calls that need nothing from outside end here, and never cost a timer.
                outcome: Outcome = DONE
            elif isinstance(came, Returned):
                # It would keep the value until the next call.
                self._runner = new_runner()
                outcome = self._returned(handler, came.value)
            else:
                self._runner = new_runner()
                return self._to_its_end(handler, rest(runner, came, context), began)
        except BaseException as error:
            # Nothing was awaited yet, so that even a GeneratorExit can only be the handler's.
            self._runner = new_runner()
            outcome = _raised(error)
        if Here.is_copy:
            _end_a_copy(outcome)
        seconds = self._clock() - began
        self._took(handler.name, seconds)
        if seconds > _BLOCKED_S:
            advice = "await what takes long, or write `def` instead of `async def`"
            self._tell_once("blocking", handler, "handler held up the loop", seconds=round(seconds, 3), advice=advice)
        return outcome

    def close(self) -> int:
        """As in `Threads`."""
        return self._threads.close()

    async def _to_its_end(self, handler: Handler, rest: Awaitable[object], began: float) -> Outcome:
        deadline_s = handler.options.deadline_s or self._deadline_s
        watch = self._deadlines.start(deadline_s)
        try:
            outcome = self._returned(handler, await rest)
            if Here.is_copy:
                _end_a_copy(outcome)
            return _too_late(deadline_s, None) if watch.is_over else outcome
        except GeneratorExit:
            raise
        except BaseException as error:
            outcome = _raised(error)
            if Here.is_copy:
                _end_a_copy(outcome)
            return _too_late(deadline_s, error) if watch.is_over else outcome
        finally:
            self._deadlines.end(watch)
            self._took(handler.name, self._clock() - began)
            if watch.task.cancelling():
                await settle(watch.task)

    async def _in_process(self, handler: Handler, event: Given, deadline_s: float) -> Outcome:
        assert self._processes is not None, "who has such handlers gives them"  # noqa: S101 - for mypy
        waits_from = self._clock()
        try:
            returned, raised = await self._processes.call(handler, event, _key(event), deadline_s)
        except asyncio.CancelledError as error:
            return _cancelled(error)
        finally:
            self._took(handler.name, self._clock() - waits_from)
        return self._returned(handler, returned) if raised is None else _raised(raised)

    async def _in_thread(self, handler: Handler, event: Given, deadline_s: float) -> Outcome:
        waits_from = self._clock()
        try:
            (returned, raised), is_late = await self._threads.call(handler, event, deadline_s)
        except asyncio.CancelledError as error:
            return _cancelled(error)
        except RuntimeError as error:
            return Failed(error=error)
        self._took(handler.name, self._clock() - waits_from)
        outcome = self._returned(handler, returned) if raised is None else _raised(raised)
        return Done(late=True) if outcome is DONE and is_late else outcome

    def _returned(self, handler: Handler, value: object) -> Outcome:
        if value is None:
            return DONE
        if isinstance(value, Retry | Reject):
            return Failed(error=BadReturn(f"{handler.name} returned {type(value).__name__}; it must raise it"))
        if isawaitable(value):
            if iscoroutine(value):
                value.close()
            return Failed(
                error=BadReturn(f"{handler.name} returned something to await; make it `async def` and await it")
            )
        self._tell_once("return", handler, "a handler's return value is ignored", returned=type(value).__name__)
        return DONE

    def _tell_once(self, what: str, handler: Handler, text: str, **more: object) -> None:
        if (what, handler.name) not in self._told:
            self._told.add((what, handler.name))
            _log.warning(text, handler=handler.name, **more)


def _raised(error: BaseException) -> Outcome:
    if isinstance(error, Retry):
        return RetryAsked(error=error)
    if isinstance(error, Reject):
        return Rejected(error=error)
    if isinstance(error, UndecodableEvent):
        return Undecodable(error=error)
    if isinstance(error, SecretsShredded):
        # No try will open them, and the portal behind it must not wait for that.
        return Rejected(error=_as_rejection(error))
    if isinstance(error, asyncio.CancelledError):
        failure = HandlerCancelled("the handler was cancelled, and not by its deadline")
        failure.__cause__ = error
        return Failed(error=failure)
    return Failed(error=error)


def _as_rejection(error: SecretsShredded) -> Reject:
    rejection = Reject(str(error))
    rejection.__cause__ = error
    return rejection


def _cancelled(error: asyncio.CancelledError) -> Outcome:
    take_back(current_task())
    return _raised(error)


def _too_late(deadline_s: float, error: BaseException | None) -> Outcome:
    failure = DeadlineExceeded(f"the handler was cancelled at its deadline of {deadline_s:g} s")
    failure.__cause__ = error
    return Failed(error=failure)


def _end_a_copy(outcome: Outcome) -> Never:
    end_a_copy(outcome.error if isinstance(outcome, Failed) else None)


def _key(event: Given) -> str:
    """The same at each try."""
    return event.id if isinstance(event, PortalEvent) else " ".join(one.id for one in event)
