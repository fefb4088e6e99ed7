"""The facts about portals in a table: the last of each key, and in which order they were written."""

import asyncio
import time
from collections.abc import Sequence

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select

from forebay.queues.errors import QueueUnavailable
from forebay.queues.portals.contract import Chapter, Fact, PlacedFact
from forebay.queues.portals.one_store import OneStore

from .connection_thread import connection_thread
from .database import TABLES, Database, Place
from .schema import find, make, missing, missing_all
from .tables import portal

#: Facts of one chapter; with the usual 200 bytes each, half a megabyte.
_CHAPTER_FACTS = 2500

#: Seconds between two looks for new facts: another host knows of one after half of it, on average.
_LOOK_EVERY_S = 0.25

#: What was taken back is told for so long to who was away meanwhile.
_KEEP_TAKEN_BACK_MS = 7 * 24 * 3_600_000

_REPLACED = delete(portal).where(portal.c.stream == bindparam("in_stream"), portal.c.key == bindparam("of_key"))


class SqlPortalStore:
    """Asks in a thread of its own, and looks for news a few times a second."""

    def __init__(self, database: Database, stream: str) -> None:
        self._database, self._stream, self._one_store = database, stream, OneStore(database.name)
        self._thread = connection_thread(database, "forebay-portals")

    async def ensure(self, *, only_plan: bool = False) -> list[str]:
        """As in the contract."""
        if only_plan and not self._database.exists():
            return missing_all([self._stream], 1)
        if not only_plan:
            self._create()
        return await self._thread.run(self._planned if only_plan else self._made)

    def _create(self) -> None:
        try:
            self._database.create()
        except OSError as error:
            raise QueueUnavailable(f"{self._database.name} can't be made: {error.strerror}") from error

    def _planned(self, connection: Connection) -> list[str]:
        return missing(self._database, connection, [self._stream], 1)

    def _made(self, connection: Connection) -> list[str]:
        with self._database.writing(connection, alone=TABLES):
            made = make(self._database, connection, [self._stream], 1)
            self._forget_taken_back(connection)
        return made

    def _forget_taken_back(self, connection: Connection) -> None:
        stream = find(connection, self._stream).id
        # Never the last one: the place of the next fact is found by it.
        last = select(func.max(portal.c.offset)).where(portal.c.stream == stream).scalar_subquery()
        old = portal.c.timestamp_ms < self._now_ms() - _KEEP_TAKEN_BACK_MS
        is_old = and_(portal.c.stream == stream, portal.c.value.is_(None), old, portal.c.offset < last)
        connection.execute(delete(portal).where(is_old))

    async def put(self, facts: Sequence[Fact]) -> int:
        """As in the contract; all of them or none."""
        return await self._thread.run(lambda connection: self._write(connection, facts))

    def _write(self, connection: Connection, facts: Sequence[Fact]) -> int:
        if connection.dialect.name == "sqlite":
            # What is taken back or replaced may be a key: its bytes are overwritten.
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        place = Place(find(connection, self._stream).id, 0)
        with self._database.writing(connection):
            taken = self._database.take_offsets(connection, {place: len(facts)})[place]
            # What counts the offsets may have been left behind where the facts came from.
            first = max(taken, self._end(connection))
            # The last one of each key.
            rows = {fact.key: self._row(place, first + at, fact) for at, fact in enumerate(facts)}
            connection.execute(_REPLACED, [{"in_stream": place.stream, "of_key": key} for key in rows])
            connection.execute(insert(portal), list(rows.values()))
        return first + len(facts) - 1

    def _row(self, place: Place, offset: int, fact: Fact) -> dict[str, object]:
        row = {"stream": place.stream, "key": fact.key, "offset": offset, "value": fact.value}
        return {**row, "timestamp_ms": self._now_ms()}

    def _now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def end(self) -> int:
        """As in the contract."""
        return await self._thread.run(self._end)

    def _end(self, connection: Connection) -> int:
        stream = find(connection, self._stream).id
        last = connection.execute(select(func.max(portal.c.offset)).where(portal.c.stream == stream)).scalar()
        return 0 if last is None else last + 1

    async def read(self, start: int, timeout_s: float) -> Chapter:
        """As in the contract."""
        until = time.monotonic() + timeout_s
        while True:
            facts = await self._thread.run(lambda connection: self._facts(connection, start))
            if facts or time.monotonic() >= until:
                break
            await asyncio.sleep(min(_LOOK_EVERY_S, timeout_s))
        following = facts[-1].offset + 1 if facts else start
        return Chapter(facts, following, len(facts) < _CHAPTER_FACTS)

    def _facts(self, connection: Connection, start: int) -> list[PlacedFact]:
        self._one_store.check(connection, start)
        facts = self._database.facts(connection, find(connection, self._stream).id, start, _CHAPTER_FACTS)
        if not facts:
            self._database.check_writes(connection)
            self._one_store.check_end(start, self._end(connection))
        return facts

    async def close(self) -> None:
        """As in the contract."""
        await self._thread.close()
