"""The reading side: a member of a group that reads ahead of what it has committed."""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from sqlalchemy import Connection

from forebay.queues.contract import Assignments, Commit, StoredRecord
from forebay.queues.errors import Fenced, QueueError, Unsupported

from .bell import Bell
from .claims import Claims
from .connection_thread import ConnectionThread
from .database import Database
from .leases import Leases, since_boot
from .membership import Membership
from .ownership import Ownership
from .positions import Chunk, Positions
from .reader import Reader, Wait
from .retention import Retention
from .schema import find

#: The longest note, in bytes.
NOTE_BYTES = 65_536


def member_name() -> str:
    """A name that says where the member is, and that no other has had."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class SqlConsumer:
    """Three threads, a connection each: one reads, one commits, one keeps the membership."""

    def __init__(
        self,
        database: Database,
        stream: str,
        group: str,
        *,
        session_s: float,
        retention: Retention,
        clock: Callable[[], float] = since_boot,
        now_ms: Callable[[Connection], int] | None = None,
    ) -> None:
        self._database, self._stream, self._group, self._session_s = database, stream, group, session_s
        self._retention, self._clock, self._now_ms = retention, clock, now_ms or database.now_ms
        self._reading = ConnectionThread(database, "forebay-consumer-read")
        self._committing = ConnectionThread(database, "forebay-consumer-commit")
        self._living = ConnectionThread(database, "forebay-consumer-membership")
        self._leases = Leases(clock)
        self._waits: set[Wait] = set()
        self._membership: Membership | None = None
        self._closed = False

    async def start(self, assignments: Assignments) -> None:
        """As in the contract. Raises `UnknownStream` and `QueueUnavailable`."""
        stream = await self._living.run(partial(find, name=self._stream))
        self._claims = Claims(
            group=self._group, stream=stream, me=member_name(), session_ms=round(self._session_s * 1000)
        )
        self._bell = Bell()
        self._positions = Positions(self._bell)
        self._reader = Reader(self._database, stream, self._positions, self._bell)
        self._ownership = Ownership(assignments, self._leases, self._positions, self._committing.post)
        self._membership = membership = self._new_membership()
        try:
            await self._living.run(membership.join)
        except BaseException:
            # It may have joined all the same: the call was cancelled, or the answer of the database was lost.
            membership.leave()
            raise
        finally:
            self._living.post(membership.live)

    def _new_membership(self) -> Membership:
        return Membership(
            database=self._database,
            thread=self._living,
            claims=self._claims,
            leases=self._leases,
            retention=self._retention,
            owner=self._ownership,
            loop=asyncio.get_running_loop(),
            clock=self._clock,
            now_ms=self._now_ms,
        )

    async def fetch(self, max_records: int, timeout_s: float) -> list[StoredRecord]:
        """As in the contract; empty at once after `close`."""
        self._check_started()
        wait = Wait(until=time.monotonic() + timeout_s, over=self._closed)
        self._waits.add(wait)
        try:
            return await self._fetch(max_records, wait)
        finally:
            self._waits.discard(wait)
            self._stop(wait)

    async def _fetch(self, max_records: int, wait: Wait) -> list[StoredRecord]:
        while not wait.over:
            chunks = await self._reading.run(partial(self._reader.fetch, max_records=max_records, wait=wait))
            records = self._give_out(chunks)
            if records or not chunks:
                return records
        return []

    def _give_out(self, chunks: Sequence[Chunk]) -> list[StoredRecord]:
        # Positions move here, on the loop, and not in the thread: a `fetch` that was cancelled then has taken nothing.
        self._ownership.drop_expired()
        return [record for chunk in chunks if self._positions.pass_over(chunk) for record in chunk.records]

    def _stop(self, wait: Wait) -> None:
        wait.over = True
        self._bell.ring()

    async def commit(self, commits: Mapping[int, Commit]) -> None:
        """As in the contract. A note that is too long is `Unsupported`, and nothing is stored."""
        self._check_started()
        _check_notes(commits)
        self._ownership.drop_expired()
        epochs = {number: epoch for number in commits if (epoch := self._leases.epoch(number)) is not None}
        stored = await self._committing.run(partial(self._store, epochs=epochs, commits=commits)) if epochs else set()
        if len(stored) < len(commits):
            raise Fenced(commits.keys() - stored)

    def _store(self, connection: Connection, epochs: Mapping[int, int], commits: Mapping[int, Commit]) -> set[int]:
        with self._database.writing(connection, beside=self._claims.name):
            return self._claims.commit(connection, epochs, commits)

    async def close(self) -> None:
        """As in the contract."""
        self._closed = True
        for wait in self._waits:
            self._stop(wait)
        if self._membership is not None:
            self._membership.leave()
        # The membership first: partitions that are given back are committed meanwhile.
        await self._living.close()
        await self._reading.close()
        await self._committing.close()
        if self._membership is not None:
            self._bell.close()

    def _check_started(self) -> None:
        if self._membership is None:
            raise QueueError("this consumer was not started; call `start` first")


def _check_notes(commits: Mapping[int, Commit]) -> None:
    longest = max((len(commit.note) for commit in commits.values()), default=0)
    if longest > NOTE_BYTES:
        raise Unsupported(f"a note of {longest} bytes; the SQL queue takes {NOTE_BYTES}, as its promises say")
