"""A thread with a connection of its own: a client blocks, and the event loop must not."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from forebay.queues.errors import QueueUnavailable

from .undone import again

T = TypeVar("T")
Loop = asyncio.AbstractEventLoop


class Closable(Protocol):
    """A connection, whatever else it can do."""

    def close(self) -> None:
        """Let go of it."""


C = TypeVar("C", bound=Closable)


class Store(Protocol[C]):
    """What connections lead to. Its methods block, and each connection is used by one thread."""

    @property
    def name(self) -> str:
        """What a person calls it; without credentials."""

    def connect(self) -> C:
        """A new connection."""

    def current(self, connection: C) -> bool:
        """Whether the connection still leads to what has our name now."""

    def remedy(self, error: Exception) -> str:
        """The store's own words for the error, and what to do about it. Never a part of a record."""


class Lives:
    """Of connections that are to lead to one server: where one is made in place of a lost one, a life begins for all.

    The name may lead to another server by then, and the one that it has led to may answer for ever. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.number = 0

    def made(self, since: int, lost: int | None) -> int:
        """The life of a connection that is made now, and was begun in that one; `lost` is the life of a lost one."""
        with self._lock:
            if lost == self.number:
                self.number = since = lost + 1
            return since


class ConnectionThread(Generic[C]):
    """Does one call after the other, in their order. Starts and connects when first used.

    It connects anew after every error of the store: what a connection that failed still knows is not to be trusted;
    when the connection leads nowhere any more (the file was deleted or replaced, the server is gone); and when one of
    the same lives has done so.
    """

    def __init__(
        self,
        store: Store[C],
        name: str,
        *,
        errors: tuple[type[Exception], ...],
        check: Callable[[C], None] = lambda _: None,
        lives: Lives | None = None,
    ) -> None:
        self._store, self._name, self._errors, self._check = store, name, errors, check
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: C | None = None
        self._lives, self._life = lives or Lives(), 0
        #: The life of a connection that failed, until there is another.
        self._lost: int | None = None
        self._closed = False
        self._ended = asyncio.Event()

    def post(self, call: Callable[[], None]) -> None:
        """Have the thread do this, which must not raise. Call it on the event loop. Raises `QueueUnavailable`."""
        if self._closed:
            raise QueueUnavailable(f"this part of the queue {self._store.name} was closed")
        if self._thread is None:
            self._thread = self._started()
        self._calls.put(call)

    def _started(self) -> threading.Thread:
        # A daemon: a disk that hangs must not keep the process from ending.
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise QueueUnavailable(f"{error}: raise the limit of threads (ulimit -u, or the container's)") from error
        return thread

    async def run(self, call: Callable[[C], T]) -> T:
        """Have the thread do this, and return its result. Cancelling doesn't stop what the thread does.

        It may be done more than once: when its transaction was undone for the sake of another's.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self.post(partial(self._answer, call, loop, future))
        return await future

    async def run_and_close(self, call: Callable[[C], T]) -> T:
        """As `run`, and nothing after it."""
        try:
            return await self.run(call)
        finally:
            await self.close()

    @contextmanager
    def connected(self) -> Iterator[C]:
        """The connection, in this thread only. Errors of the store become `QueueUnavailable`.

        Raises `QueueError` for as long as the check of a new connection fails.
        """
        try:
            yield self._current()
        except self._errors as error:
            self._lose()
            raise QueueUnavailable(self._store.remedy(error)) from error

    async def close(self) -> None:
        """Do what was asked for so far, then disconnect and end. Idempotent: each call returns when that is done."""
        if not self._closed:
            self._closed = True
            self._calls.put(partial(self._end, asyncio.get_running_loop()))
            self._calls.put(None)
        if self._thread is not None:
            await self._ended.wait()
            self._thread.join()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()

    def _answer(self, call: Callable[[C], T], loop: Loop, future: asyncio.Future[T]) -> None:
        try:
            result = again(partial(self._call, call))
        except Exception as error:  # it is raised where the call came from
            tell(loop, _settle, future, None, error)
        else:
            tell(loop, _settle, future, result, None)

    def _call(self, call: Callable[[C], T]) -> T:
        with self.connected() as connection:
            return call(connection)

    def _end(self, loop: Loop) -> None:
        self._disconnect()
        tell(loop, self._ended.set)

    def _current(self) -> C:
        if self._connection is not None and not self._store.current(self._connection):
            self._lose()
        if self._life != self._lives.number:
            self._disconnect()
        if self._connection is None:
            # Asked before: one that is made by another thread meanwhile may lead elsewhere.
            since = self._lives.number
            self._connection = self._connect()
            self._life, self._lost = self._lives.made(since, self._lost), None
        return self._connection

    def _lose(self) -> None:
        if self._connection is not None:
            self._lost = self._life
        self._disconnect()

    def _connect(self) -> C:
        connection = self._store.connect()
        try:
            self._check(connection)
        except BaseException:
            self._close(connection)
            raise
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._close(connection)

    def _close(self, connection: C) -> None:
        with suppress(*self._errors):
            connection.close()


def tell(loop: Loop, callback: Callable[..., object], *values: Any) -> None:
    """Call this on the event loop, if it still runs: else there is nobody left to tell."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, *values)


def _settle(future: asyncio.Future[T], result: T, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
