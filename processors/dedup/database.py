"""Marks in a database: a file of this host, or one that all hosts share."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

from sqlalchemy import Connection

from forebay.queues.errors import QueueUnavailable
from forebay.queues.sql.connection_thread import connection_thread
from forebay.queues.sql.database import Database

from . import table
from .keys import Key
from .marks import is_marked

#: Between two looks for marks of portals that went away.
_CLEAR_EVERY_MS = 3_600_000

#: Seconds without a sign of life until a database hangs: longer than one waits for a lock, which it tells in its words.
_PATIENCE_S = 10.0


@dataclass(eq=False, slots=True, kw_only=True)
class _Ask:
    keys: Sequence[Key]
    is_mark: bool
    answer: "asyncio.Future[bool]"


class MarksInDatabase:
    """While the database works on some, the next gather, and go to it together."""

    def __init__(
        self,
        database: Database,
        *,
        patience_s: float = _PATIENCE_S,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._patience_s, self._now, self._clock = database, patience_s, now, clock
        self._thread = connection_thread(database, "forebay-dedup")
        #: In their order, those that wait for their turn.
        self._asks: dict[_Ask, None] = {}
        self._work: asyncio.Task[None] | None = None
        #: When the database last gave a sign of life. Without one for too long it hangs, and everybody is refused.
        self._answered_at = 0.0
        self._hangs = False
        self._has_table = False
        self._cleared_ms = 0

    async def seen(self, *keys: Key) -> bool:
        """As in `Marks`."""
        return await self._asked(keys, is_mark=False)

    async def mark(self, *keys: Key) -> None:
        """As in `Marks`."""
        await self._asked(keys, is_mark=True)

    async def close(self) -> None:
        """As in `Marks`."""
        if self._work is not None:
            await asyncio.wait([self._work])
        await self._thread.close()

    async def _asked(self, keys: Sequence[Key], *, is_mark: bool) -> bool:
        if self._hangs:
            # Who asks has a slot, which other events could have meanwhile.
            raise self._no_answer()
        ask = _Ask(keys=keys, is_mark=is_mark, answer=asyncio.get_running_loop().create_future())
        self._asks[ask] = None
        if self._work is None:
            self._work = asyncio.create_task(self._do_all())
        try:
            return await ask.answer
        finally:
            # Where nobody waits for the answer any more, it has not to be found either.
            self._asks.pop(ask, None)

    def _no_answer(self) -> QueueUnavailable:
        return QueueUnavailable(f"{self._database.name} does not answer within {self._patience_s:g} s")

    async def _do_all(self) -> None:
        while self._asks:
            asks = list(islice(self._asks, table.AT_ONCE))
            for ask in asks:
                del self._asks[ask]
            await self._do_some(asks)
        self._work = None

    async def _do_some(self, asks: list[_Ask]) -> None:
        self._answered_at = self._clock()
        self._watch(asks)
        try:
            self._make_file()
            answers = await self._thread.run(partial(self._do, asks))
        # Whatever it is, whoever asked has to know.
        except Exception as error:
            self._has_table = False
            _refuse(asks, error)
        else:
            for ask in asks:
                if not ask.answer.done():
                    ask.answer.set_result(ask.is_mark or ask in answers)
        finally:
            self._timer.cancel()
        self._hangs = False

    def _watch(self, asks: list[_Ask]) -> None:
        """Look whether these get their answer, or the database at least goes on."""
        left_s = self._answered_at + self._patience_s - self._clock()
        if left_s > 0:
            self._timer = asyncio.get_running_loop().call_later(left_s, self._watch, asks)
            return
        self._hangs = True
        _refuse([*asks, *self._asks], self._no_answer())

    def _make_file(self) -> None:
        try:
            if not self._has_table:
                self._database.create()
        except OSError as error:
            raise QueueUnavailable(
                f"{self._database.name} can't be made: {error.strerror}; look at data_dir and dedup_url"
            ) from error

    def _do(self, asks: list[_Ask], connection: Connection) -> set[_Ask]:
        """In the thread: keep what is to be marked, and give those of the others that are marked."""
        self._prepare(connection)
        marks = [key for ask in asks if ask.is_mark for key in ask.keys]
        if marks:
            with self._database.writing(connection):
                self._write(connection, marks)
        else:
            # What was marked since at another server, this one does not know.
            self._database.check_writes(connection)
        wanted = [ask for ask in asks if not ask.is_mark]
        received: dict[bytes, int] = {}
        for keys in self._some([key for ask in wanted for key in ask.keys]):
            received |= table.received(connection, keys)
        return {ask for ask in wanted if all(is_marked(key, received) for key in ask.keys)}

    def _prepare(self, connection: Connection) -> None:
        if self._has_table:
            return
        with self._database.writing(connection, alone="the marks"):
            table.make(connection, self._database.name)
        self._has_table = True

    def _write(self, connection: Connection, marks: list[Key]) -> None:
        now_ms = int(self._now() * 1000)
        for keys in self._some(marks):
            table.write(connection, keys, now_ms)
        if now_ms - self._cleared_ms > _CLEAR_EVERY_MS:
            self._cleared_ms = now_ms
            table.clear_gone(connection, now_ms)

    def _some(self, keys: list[Key]) -> Iterator[list[Key]]:
        """So many as go at once. Who stands for many events may take longer than the patience."""
        for start in range(0, len(keys), table.AT_ONCE):
            yield keys[start : start + table.AT_ONCE]
            self._answered_at = self._clock()


def _refuse(asks: list[_Ask], error: Exception) -> None:
    for ask in asks:
        if not ask.answer.done():
            ask.answer.set_exception(error)
