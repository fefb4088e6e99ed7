"""The reading side: a member of a group that reads ahead of what it has committed."""

import os
import secrets
import socket
from collections.abc import Mapping

from forebay.queues.contract import Assignments, Commit, StoredRecord
from forebay.queues.errors import Fenced, QueueError, UnknownStream, Unsupported

from .address import Address
from .catalog import Catalog
from .chronicle import GroupGone
from .connection import HEARTBEAT_S
from .inbox import Inbox
from .logs import group_log, intake
from .membership import Membership
from .sequencing import Sequencing
from .writer import Writer

#: The longest note, in bytes: a group's stream holds one a partition, many times over.
NOTE_BYTES = 4096


#: Seconds that a commit waits until its partitions are read again after a connection was lost.
_READ_AGAIN_S = 2.0


def member_name() -> str:
    """A name that says where the member is, and that no other has had."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class RabbitmqConsumer:
    """Two connections: one reads, and one writes, which an alarm of the node stops. A third where a stream is short."""

    def __init__(self, address: Address, stream: str, group: str, *, session_s: float) -> None:
        self._address, self._stream, self._group, self._session_s = address, stream, group, session_s
        self._inbox: Inbox | None = None
        self._writer: Writer | None = None
        self._catalog: Catalog | None = None
        self._sequencing = Sequencing(address)
        self._membership: Membership | None = None
        self._assignments: Assignments | None = None

    async def start(self, assignments: Assignments) -> None:
        """As in the contract. Raises `UnknownStream` and `QueueUnavailable`."""
        self._assignments = assignments
        # A node that is gone must be noticed before the session is over.
        heartbeat_s = min(HEARTBEAT_S, self._session_s / 2)
        self._writer = Writer(self._address, "member", heartbeat_s)
        self._inbox = Inbox(
            self._address,
            self._stream,
            heartbeat_s,
            gap=assignments.gap,
            shorter=self.shorter,
            set_back=self.set_back,
            put=self._put,
        )
        self._catalog = Catalog(self._writer)
        partitions = await self._catalog.partitions(self._stream)
        queue = await self._catalog.add_group(self._stream, self._group)
        self._membership = Membership(
            self._writer, queue, partitions, name=member_name, session_s=self._session_s, owning=self
        )
        await self._membership.join()

    async def _put(self, log: str, body: bytes) -> None:
        assert self._writer is not None  # noqa: S101 - for mypy
        # No producer may be there that would forward it, and what was kept before.
        self._sequencing.attach(log)
        await self._writer.mark(intake(log), body)

    def assigned(self, partition: int, committed: Commit) -> None:
        """For the membership."""
        assert self._inbox is not None  # noqa: S101 - for mypy
        assert self._assignments is not None  # noqa: S101 - for mypy
        self._assignments.assigned(partition, committed)
        self._inbox.assign(partition, committed.offset)

    async def asked_back(self, partition: int) -> None:
        """For the membership."""
        assert self._inbox is not None  # noqa: S101 - for mypy
        assert self._assignments is not None  # noqa: S101 - for mypy
        self._inbox.drop(partition)
        await self._assignments.revoked(partition)

    def lost(self, partition: int) -> None:
        """For the membership."""
        assert self._inbox is not None  # noqa: S101 - for mypy
        assert self._assignments is not None  # noqa: S101 - for mypy
        self._inbox.drop(partition)
        self._assignments.lost(partition)

    def shorter(self, partition: int, end: int) -> None:
        """For the inbox: the partition begins anew there, since who counts on would pass over what comes now."""
        self.lost(partition)
        self.assigned(partition, Commit(offset=end, is_reset=True))

    def set_back(self, partition: int) -> None:
        """For the inbox: the group's stream was set back with the partition's."""
        if self._membership is not None:
            self._membership.begin_again(partition)

    async def fetch(self, max_records: int, timeout_s: float) -> list[StoredRecord]:
        """As in the contract; empty at once after `close`."""
        inbox, membership = self._started()
        try:
            membership.check()
        except GroupGone as gone:
            await self._check_made_anew(gone)
            raise
        membership.drop_expired()
        return await inbox.fetch(max_records, timeout_s, membership.drop_expired)

    async def _check_made_anew(self, gone: GroupGone) -> None:
        """Raise `QueueError` where all was deleted, and is there again: who starts anew begins there."""
        assert self._catalog is not None  # noqa: S101 - for mypy
        assert self._writer is not None  # noqa: S101 - for mypy
        try:
            groups = await self._catalog.groups(self._stream)
        except UnknownStream:
            return
        if self._group not in groups or await self._writer.has(group_log(self._stream, self._group)):
            raise QueueError(
                f"stream {self._stream} was made anew meanwhile, and is another one: restart this process"
            ) from gone

    async def commit(self, commits: Mapping[int, Commit]) -> None:
        """As in the contract. A note that is too long is `Unsupported`, and nothing is stored."""
        inbox, membership = self._started()
        longest = max((len(commit.note) for commit in commits.values()), default=0)
        if longest > NOTE_BYTES:
            raise Unsupported(f"a note of {longest} bytes; the RabbitMQ queue takes {NOTE_BYTES}, as its promises say")
        epochs = membership.epochs(commits)
        # The connection that writes may be the first to be there again, and what was read may be something else by now.
        await inbox.is_read(epochs, _READ_AGAIN_S)
        stored = await membership.commit(epochs, commits) if epochs else set()
        if len(stored) < len(commits):
            raise Fenced(commits.keys() - stored)

    def _started(self) -> tuple[Inbox, Membership]:
        if self._inbox is None or self._membership is None:
            raise QueueError("this consumer was not started; call `start` first")
        return self._inbox, self._membership

    async def close(self) -> None:
        """As in the contract."""
        if self._inbox is not None:
            self._inbox.stop()
        if self._membership is not None:
            await self._membership.leave()
        if self._writer is not None:
            await self._writer.close(hurried=True)
        if self._inbox is not None:
            await self._inbox.close()
        await self._sequencing.close()
