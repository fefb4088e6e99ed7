"""Runs one handler with its deadline, and says how it ended. Nothing that a handler raises gets past here."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from inspect import isawaitable, iscoroutine
from typing import Any, TypeAlias

import structlog

from forebay.schemas.errors import UndecodableEvent
from forebay.schemas.event import PortalEvent, SecretsShredded

from .cancelling import current_task, settle, take_back
from .cpu.answers import Ended
from .cpu.pool import Processes
from .deadlines import Deadlines
from .errors import BadReturn, DeadlineExceeded, HandlerCancelled, Reject, Retry
from .handlers import Handler
from .outcome import DONE, Done, Failed, Outcome, Rejected, RetryAsked, Undecodable
from .runners import NOTHING, Returned, new_runner, rest

_log = structlog.get_logger(__name__)

#: An `async def` that computes for so long without an await holds up every other portal of the process.
_BLOCKED_S = 0.25

#: How a try ended, or when it waits for something, what to await to know.
Begun: TypeAlias = Outcome | Coroutine[Any, Any, Outcome]

#: What a handler gets: an event, or with `batch` a list of them.
Given: TypeAlias = PortalEvent | list[PortalEvent]


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
    ) -> None:
        """`may_begin` is awaited before a handler is begun in a thread, and `is_still_certain` asked in there."""
        self._deadline_s, self._took, self._may_begin, self._clock = deadline_s, took, may_begin, clock
        self._is_still_certain = is_still_certain
        self._processes = processes
        self._pool = _Threads(threads, thread_name_prefix="forebay-handler")
        # A thread is waited for here and not in the pool's own queue, so that a deadline starts with the call.
        self._free = asyncio.Semaphore(threads)
        self._deadlines = Deadlines()
        self._runner = new_runner()
        self._in_threads = 0
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
        seconds = self._clock() - began
        self._took(handler.name, seconds)
        if seconds > _BLOCKED_S:
            advice = "await what takes long, or write `def` instead of `async def`"
            self._tell_once("blocking", handler, "handler held up the loop", seconds=round(seconds, 3), advice=advice)
        return outcome

    def close(self) -> int:
        """Take no more calls; gives the number of threads that still run a handler, and can't be stopped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        return self._in_threads

    async def _to_its_end(self, handler: Handler, rest: Awaitable[object], began: float) -> Outcome:
        deadline_s = handler.options.deadline_s or self._deadline_s
        watch = self._deadlines.start(deadline_s)
        try:
            outcome = self._returned(handler, await rest)
            return _too_late(deadline_s, None) if watch.is_over else outcome
        except GeneratorExit:
            raise
        except BaseException as error:
            return _too_late(deadline_s, error) if watch.is_over else _raised(error)
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
        while True:
            try:
                await self._thread()
            except asyncio.CancelledError as error:
                return _cancelled(error)
            outcome = await self._try_in_thread(handler, event, deadline_s, waits_from)
            if outcome is not None:
                return outcome

    async def _try_in_thread(
        self, handler: Handler, event: Given, deadline_s: float, waits_from: float
    ) -> Outcome | None:
        """None where the process stood still before the thread had begun."""
        loop = asyncio.get_running_loop()
        began = self._clock()
        try:
            run = partial(copy_context().run, _in_context, self._is_still_certain, handler, event)
            future = loop.run_in_executor(self._pool, run)
        except RuntimeError as error:
            self._free.release()
            return Failed(error=error)
        self._in_threads += 1
        future.add_done_callback(self._thread_ended)
        watch = loop.call_later(deadline_s, self._tell_late, handler, event)
        try:
            ended = await _to_the_end_of(future)
        except asyncio.CancelledError as error:
            return _cancelled(error)
        finally:
            watch.cancel()
        if ended is None:
            return None
        self._took(handler.name, self._clock() - waits_from)
        returned, raised = ended
        outcome = self._returned(handler, returned) if raised is None else _raised(raised)
        return Done(late=True) if outcome is DONE and self._clock() - began > deadline_s else outcome

    async def _thread(self) -> None:
        await self._free.acquire()
        try:
            await self._may_begin()
        except asyncio.CancelledError:
            self._free.release()
            raise

    def _thread_ended(self, _: object) -> None:
        self._in_threads -= 1
        self._free.release()

    def _tell_late(self, handler: Handler, event: Given) -> None:
        _log.warning("handler over its deadline", **_about(handler, event), advice="its portal waits until it returns")

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


class _Threads(ThreadPoolExecutor):
    """What the system has no thread for stands in line all the same, for those that are there."""

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                # It is told as not called, and must not be when a later one has a thread.
                self._work_queue.get_nowait()
                raise


def _in_context(is_still_certain: Callable[[], bool], handler: Handler, event: Given) -> Ended | None:
    # A thread may begin late, and the process may have stood still meanwhile.
    if not is_still_certain():
        return None
    # Errors are carried as values: a future can't take a StopIteration, and SystemExit must not end the thread.
    try:
        return handler.function(event), None
    except BaseException as error:
        return None, error


async def _to_the_end_of(thread: "asyncio.Future[Ended | None]") -> Ended | None:
    # It can't be stopped, and until it returns its event is in work: only who asks twice leaves it behind.
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        take_back(current_task())
        ended = await asyncio.shield(thread)
        if ended is None:
            # Nothing was begun, and nothing is to be.
            raise
        return ended


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


def _key(event: Given) -> str:
    """The same at each try."""
    return event.id if isinstance(event, PortalEvent) else " ".join(one.id for one in event)


def _about(handler: Handler, given: Given) -> dict[str, object]:
    events = given if isinstance(given, list) else [given]
    first = events[0]
    return {
        "handler": handler.name,
        "portal": first.portal,
        "name": first.name,
        "id": first.id,
        "events": len(events),
    }
