"""Handlers that are `def`: each call has one of a bounded number of threads to itself."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial

from forebay.schemas.logger import get_logger

from .cancelling import current_task, take_back
from .cpu.answers import Ended
from .forks import Here, end_a_copy
from .handlers import Given, Handler
from .health import Health

_log = get_logger(__name__)

#: The part of the worker's health.
_PART = "threads"


class Threads:
    """Used on one event loop."""

    def __init__(
        self,
        most: int,
        *,
        may_begin: Callable[[], Awaitable[None]],
        is_still_certain: Callable[[], bool],
        clock: Callable[[], float],
        health: Health,
    ) -> None:
        """`may_begin` is awaited before a handler is begun in a thread, and `is_still_certain` asked in there."""
        self._may_begin, self._is_still_certain, self._clock = may_begin, is_still_certain, clock
        self._most, self._health = most, health
        self._pool = _Executor(most, thread_name_prefix="forebay-handler")
        # A thread is waited for here and not in the pool's own queue, so that a deadline starts with the call.
        self._free = asyncio.Semaphore(most)
        self._running = 0
        #: Those that are over their deadline, and have not returned.
        self._late: set[object] = set()

    async def call(self, handler: Handler, given: Given, deadline_s: float) -> tuple[Ended, bool]:
        """What the handler returned or raised, and whether that was after its deadline: a thread can't be cancelled.

        Raises `CancelledError` when nothing is to be begun, or who asks twice leaves it behind, and `RuntimeError`
        where the system has no thread for it.
        """
        while True:
            await self._thread()
            began = self._clock()
            ended = await self._ended(handler, given, deadline_s)
            if ended is not None:
                return ended, self._clock() - began > deadline_s

    def close(self) -> int:
        """Take no more calls; gives the number of threads that still run a handler, and can't be stopped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        return self._running

    async def _thread(self) -> None:
        await self._free.acquire()
        try:
            await self._may_begin()
        except asyncio.CancelledError:
            self._free.release()
            raise

    async def _ended(self, handler: Handler, given: Given, deadline_s: float) -> Ended | None:
        """None where the process stood still before the thread had begun."""
        loop = asyncio.get_running_loop()
        try:
            run = partial(copy_context().run, _in_context, self._is_still_certain, handler, given)
            future = loop.run_in_executor(self._pool, run)
        except RuntimeError:
            self._free.release()
            raise
        self._running += 1
        future.add_done_callback(self._has_ended)
        watch = loop.call_later(deadline_s, self._tell_late, future, handler, given)
        try:
            return await _to_the_end_of(future)
        finally:
            watch.cancel()

    def _tell_late(self, future: "asyncio.Future[Ended | None]", handler: Handler, given: Given) -> None:
        _log.warning("handler over its deadline", **_about(handler, given), advice="its portal waits until it returns")
        if not future.done():
            self._late.add(future)
        if self._all_are_late():
            why = f"all {self._most} threads have a handler that is over its deadline: no `def` handler is begun"
            self._health.degraded(_PART, why, self._all_are_late)

    def _all_are_late(self) -> bool:
        return len(self._late) == self._most

    def _has_ended(self, future: object) -> None:
        self._late.discard(future)
        self._running -= 1
        self._free.release()


class _Executor(ThreadPoolExecutor):
    """What the system has no thread for stands in line all the same, for those that are there."""

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                # It is told as not called, and must not be when a later one has a thread.
                self._work_queue.get_nowait()
                raise


def _in_context(is_still_certain: Callable[[], bool], handler: Handler, given: Given) -> Ended | None:
    # A thread may begin late, and the process may have stood still meanwhile.
    if not is_still_certain():
        return None
    ended: Ended
    # Errors are carried as values: a future can't take a StopIteration, and SystemExit must not end the thread.
    try:
        ended = handler.function(given), None
    except BaseException as error:
        ended = None, error
    if Here.is_copy:
        end_a_copy(ended[1])
    return ended


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
