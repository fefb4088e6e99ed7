"""The reading side: a member of a group that reads ahead of what it has committed."""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Generic, TypeVar

from forebay.queues.contract import Assignments, Commit, StoredRecord
from forebay.queues.errors import Fenced, QueueError, Unsupported
from forebay.schemas.logger import get_logger

from ..threads.connection_thread import Closable, ConnectionThread, Lives
from .bell import Bell
from .confirmed import SET_BACK
from .contract import Group, Log
from .leases import Leases, since_boot
from .membership import Membership
from .ownership import Ownership
from .positions import Chunk, Positions
from .reader import Reader, Wait

C = TypeVar("C", bound=Closable)

log = get_logger(__name__)

#: The longest note, in bytes: a sixteenth of what Memcached usually takes for an item.
NOTE_BYTES = 65_536


def member_name() -> str:
    """A name that says where the member is, and that no other has had."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class LeasedConsumer(Generic[C]):
    """Three threads, a connection each: one reads, one commits, one keeps the membership.

    `thread` makes each. `member` finds the member of a name, which has not joined yet, and the records that it reads;
    it raises `UnknownStream`.
    """

    def __init__(
        self,
        thread: Callable[[str, Lives], ConnectionThread[C]],
        member: Callable[[C, str], tuple[Group[C], Log[C]]],
        *,
        lives: Lives | None = None,
        clock: Callable[[], float] = since_boot,
    ) -> None:
        self._member, self._clock = member, clock
        # Who reads writes nothing, and would not hear that a server takes no writes any more: others have gone on.
        lives = lives or Lives()
        self._reading = thread("forebay-consumer-read", lives)
        self._committing = thread("forebay-consumer-commit", lives)
        self._living = thread("forebay-consumer-membership", lives)
        self._leases = Leases(clock)
        self._waits: set[Wait] = set()
        self._bell: Bell | None = None
        self._membership: Membership[C] | None = None
        self._closed = False

    async def start(self, assignments: Assignments) -> None:
        """As in the contract. Raises `UnknownStream` and `QueueUnavailable`."""
        self._group, self._log = await self._living.run(lambda connection: self._member(connection, member_name()))
        # One for all attempts: a start that fails is tried again, and each bell is two open files.
        self._bell = bell = self._bell or Bell()
        self._positions = Positions(bell)
        self._reader = Reader(self._log, self._positions, bell)
        self._ownership = Ownership(assignments, self._leases, self._positions, self._committing.post)
        self._membership = membership = self._new_membership()
        try:
            await self._living.run(membership.join)
        except BaseException:
            # It may have joined all the same: the call was cancelled, or the answer of the store was lost.
            membership.leave()
            raise
        finally:
            self._living.post(membership.live)

    def _new_membership(self) -> Membership[C]:
        return Membership(
            thread=self._living,
            group=self._group,
            leases=self._leases,
            owner=self._ownership,
            loop=asyncio.get_running_loop(),
            clock=self._clock,
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
            if records:
                return records
            if not chunks:
                self._check_member()
                return []
        return []

    def _give_out(self, chunks: Sequence[Chunk]) -> list[StoredRecord]:
        # Positions move here, on the loop, and not in the thread: a `fetch` that was cancelled then has taken nothing.
        self._ownership.drop_expired()
        given = [chunk for chunk in chunks if self._is_ours(chunk) and self._positions.pass_over(chunk)]
        self._lose_set_back({chunk.partition: chunk.position.epoch for chunk in given if chunk.is_set_back})
        for chunk in given:
            if chunk.records:
                self._ownership.read(chunk.records[-1])
            elif not chunk.is_set_back:
                self._ownership.gap(chunk.partition, chunk.position.offset, chunk.following)
        return [record for chunk in given for record in chunk.records]

    def _lose_set_back(self, epochs: Mapping[int, int]) -> None:
        """The membership takes them again: they begin where the group was then."""
        if epochs:
            place = {"stream": self._group.stream, "group": self._group.name}
            log.error("set_back", **place, partitions=sorted(epochs), error=SET_BACK)
        for partition, epoch in epochs.items():
            if self._leases.drop(partition, epoch):
                self._ownership.lost(partition, epoch)

    def _is_ours(self, chunk: Chunk) -> bool:
        # The thread of the membership may know of an end that we are not told of yet.
        return self._ownership.epoch(chunk.partition) == chunk.position.epoch

    def _stop(self, wait: Wait) -> None:
        wait.over = True
        if self._bell is not None:
            self._bell.ring()

    async def commit(self, commits: Mapping[int, Commit]) -> None:
        """As in the contract. A note that is too long is `Unsupported`, and nothing is stored."""
        self._check_started()
        self._check_notes(commits)
        self._ownership.drop_expired()
        epochs = {number: epoch for number in commits if (epoch := self._ownership.epoch(number)) is not None}
        read = {number: last for number in epochs if (last := self._ownership.last(number)) is not None}
        store = partial(self._stored, epochs=epochs, commits=commits, read=read)
        stored, set_back = await self._committing.run(store) if epochs else (set(), set())
        self._lose_set_back({number: epochs[number] for number in set_back})
        if len(stored) < len(commits):
            raise Fenced(commits.keys() - stored)

    def _stored(
        self, connection: C, epochs: Mapping[int, int], commits: Mapping[int, Commit], read: Mapping[int, StoredRecord]
    ) -> tuple[set[int], set[int]]:
        """Which commits were stored, and which were of what was set back: others would never get what stands there."""
        set_back = {number for number, last in read.items() if not self._log.still_has(connection, last)}
        left = {number: epoch for number, epoch in epochs.items() if number not in set_back}
        return self._group.commit(connection, left, commits) if left else set(), set_back

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
        if self._bell is not None:
            self._bell.close()

    def _check_member(self) -> None:
        """Who is no member any more would wait for records for ever, and be taken for well."""
        if self._membership is not None and not self._closed:
            self._membership.check()

    def _check_started(self) -> None:
        if self._membership is None:
            raise QueueError("this consumer was not started; call `start` first")

    def _check_notes(self, commits: Mapping[int, Commit]) -> None:
        longest = max((len(commit.note) for commit in commits.values()), default=0)
        if longest > NOTE_BYTES:
            raise Unsupported(f"a note of {longest} bytes; this queue takes {NOTE_BYTES}, as it promises")
