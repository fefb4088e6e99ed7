"""Marks in a database: a file of this host, or one that all hosts share."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite

from forebay.queues.errors import QueueUnavailable
from forebay.queues.sql.connection_thread import ConnectionThread
from forebay.queues.sql.database import Database

from .keys import Key
from .marks import is_within, newest

_tables = MetaData()

mark = Table(
    "forebay_handled",
    _tables,
    Column("portal", String(255), primary_key=True),
    Column("key", LargeBinary(16), primary_key=True),
    Column("received_ms", BigInteger, nullable=False),
    # The mark may go when the portal is at events that were received later than this.
    Column("until_ms", BigInteger, nullable=False),
    Index("forebay_handled_until", "portal", "until_ms"),
)

#: In one statement: far below SQLite's 32,766 variables.
_AT_ONCE = 500

#: Nobody handles anything of a portal that went away, which would clear away its marks.
_LONGEST_MS = 90 * 86_400_000
_CLEAR_EVERY_MS = 3_600_000


@dataclass(eq=False, slots=True, kw_only=True)
class _Ask:
    keys: Sequence[Key]
    is_mark: bool
    answer: "asyncio.Future[bool]"


class MarksInDatabase:
    """While the database works on some, the next gather, and go to it together."""

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._database, self._now = database, now
        self._thread = ConnectionThread(database, "forebay-dedup")
        self._asks: list[_Ask] = []
        self._work: asyncio.Task[None] | None = None
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
        ask = _Ask(keys=keys, is_mark=is_mark, answer=asyncio.get_running_loop().create_future())
        self._asks.append(ask)
        if self._work is None:
            self._work = asyncio.create_task(self._do_all())
        return await ask.answer

    async def _do_all(self) -> None:
        while self._asks:
            asks, self._asks = self._asks[:_AT_ONCE], self._asks[_AT_ONCE:]
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
        self._work = None

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
        return self._found(connection, [ask for ask in asks if not ask.is_mark])

    def _prepare(self, connection: Connection) -> None:
        if self._has_table:
            return
        with self._database.writing(connection, alone="the marks"):
            _tables.create_all(connection)
        self._has_table = True

    def _write(self, connection: Connection, keys: list[Key]) -> None:
        now_ms = int(self._now() * 1000)
        rows = {
            (key.portal, key.digest): {
                "portal": key.portal,
                "key": key.digest,
                "received_ms": key.received_ms,
                "until_ms": max(now_ms, key.received_ms) + key.window_ms,
            }
            # Of two with the same place that of the newer event is kept.
            for key in sorted(keys, key=lambda key: key.received_ms)
        }
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        insert = dialect.insert(mark)
        kept = {"received_ms": insert.excluded.received_ms, "until_ms": insert.excluded.until_ms}
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=["portal", "key"], set_=kept, where=insert.excluded.received_ms >= mark.c.received_ms
            ),
            list(rows.values()),
        )
        self._clear(connection, newest(keys), now_ms)

    def _clear(self, connection: Connection, at: dict[str, int], now_ms: int) -> None:
        over = delete(mark).where(mark.c.portal == bindparam("which"), mark.c.until_ms < bindparam("at"))
        connection.execute(over, [{"which": portal, "at": received_ms} for portal, received_ms in at.items()])
        if now_ms - self._cleared_ms > _CLEAR_EVERY_MS:
            self._cleared_ms = now_ms
            connection.execute(delete(mark).where(mark.c.until_ms < now_ms - _LONGEST_MS))

    def _found(self, connection: Connection, asks: list[_Ask]) -> set[_Ask]:
        wanted = [(key.portal, key.digest) for ask in asks for key in ask.keys]
        received: dict[tuple[str, bytes], int] = {}
        for start in range(0, len(wanted), _AT_ONCE):
            some = tuple_(mark.c.portal, mark.c.key).in_(wanted[start : start + _AT_ONCE])
            rows = connection.execute(select(mark.c.portal, mark.c.key, mark.c.received_ms).where(some))
            received |= {(portal, bytes(key)): received_ms for portal, key, received_ms in rows}
        return {ask for ask in asks if all(_is_marked(key, received) for key in ask.keys)}


def _is_marked(key: Key, received: dict[tuple[str, bytes], int]) -> bool:
    place = key.portal, key.digest
    return place in received and is_within(key, received[place])


def _refuse(asks: list[_Ask], error: Exception) -> None:
    for ask in asks:
        if not ask.answer.done():
            ask.answer.set_exception(error)
