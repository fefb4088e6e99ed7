"""A member of a group, with all that it reads and writes by."""

from forebay.queues.contract import Assignments, Commit
from forebay.queues.errors import QueueError, UnknownStream
from forebay.queues.groups.consumer import member_name

from .address import Address
from .catalog import Catalog
from .chronicle import GroupGone
from .connection import HEARTBEAT_S
from .inbox import Inbox
from .logs import group_log, intake
from .membership import Membership
from .sequencing import Sequencing
from .writer import Writer


class Member:
    """Two connections: one reads, and one writes, which an alarm of the node stops. A third where a stream is short."""

    def __init__(self, address: Address, stream: str, group: str, session_s: float, assignments: Assignments) -> None:
        self._stream, self._group, self._assignments = stream, group, assignments
        # A node that is gone must be noticed before the session is over.
        heartbeat_s = min(HEARTBEAT_S, session_s / 2)
        self._writer = Writer(address, "member", heartbeat_s)
        self._catalog, self._sequencing = Catalog(self._writer), Sequencing(address)
        self.membership = Membership(
            self._writer, group_log(stream, group), name=member_name, session_s=session_s, owning=self
        )
        self.inbox = Inbox(
            address,
            stream,
            heartbeat_s,
            gap=assignments.gap,
            shorter=self.shorter,
            set_back=self.membership.begin_again,
            put=self._put,
        )

    async def join(self) -> None:
        """Raises `UnknownStream` and `QueueUnavailable`."""
        partitions = await self._catalog.partitions(self._stream)
        await self._catalog.add_group(self._stream, self._group)
        await self.membership.join(partitions)

    async def _put(self, log: str, body: bytes) -> None:
        # No producer may be there that would forward it, and what was kept before.
        self._sequencing.attach(log)
        await self._writer.mark(intake(log), body)

    def assigned(self, partition: int, committed: Commit) -> None:
        """For the membership."""
        self._assignments.assigned(partition, committed)
        self.inbox.assign(partition, committed.offset)

    async def asked_back(self, partition: int) -> None:
        """For the membership."""
        self.inbox.drop(partition)
        await self._assignments.revoked(partition)

    def lost(self, partition: int) -> None:
        """For the membership."""
        self.inbox.drop(partition)
        self._assignments.lost(partition)

    def shorter(self, partition: int, end: int) -> None:
        """For the inbox: the partition begins anew there, since who counts on would pass over what comes now."""
        self.lost(partition)
        self.membership.go_back(partition, end)
        self.assigned(partition, Commit(offset=end, is_reset=True))

    async def check(self) -> None:
        """Raise `QueueUnavailable` for who can be no member, and `QueueError` where the group is another one by now."""
        try:
            self.membership.check()
            self.membership.check_signs()
        except GroupGone as gone:
            if await self._is_made_anew():
                raise QueueError(
                    f"stream {self._stream} was made anew meanwhile, and is another one: restart this process"
                ) from gone
            raise

    async def _is_made_anew(self) -> bool:
        """Whether all was deleted, and is there again: who starts anew begins there."""
        try:
            groups = await self._catalog.groups(self._stream)
        except UnknownStream:
            return False
        return self._group not in groups or await self._writer.has(group_log(self._stream, self._group))

    async def leave(self) -> None:
        """Give everything back, and let go of the node. Idempotent."""
        self.inbox.stop()
        await self.membership.leave()
        await self._writer.close(hurried=True)
        await self.inbox.close()
        await self._sequencing.close()
