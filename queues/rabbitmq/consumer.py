"""The reading side: a member of a group that reads ahead of what it has committed."""

from collections.abc import Mapping

from forebay.queues.contract import Assignments, Commit, StoredRecord
from forebay.queues.errors import Fenced, QueueError, Unsupported

from .address import Address
from .member import Member

#: The longest note, in bytes: a group's stream holds one a partition, many times over.
NOTE_BYTES = 4096

#: Seconds that a commit waits until its partitions are read again after a connection was lost.
_READ_AGAIN_S = 2.0


class RabbitmqConsumer:
    """Each start makes a new member."""

    def __init__(self, address: Address, stream: str, group: str, *, session_s: float) -> None:
        self._address, self._stream, self._group, self._session_s = address, stream, group, session_s
        self._member: Member | None = None

    async def start(self, assignments: Assignments) -> None:
        """As in the contract. Raises `UnknownStream` and `QueueUnavailable`."""
        # What a start that failed has left: its connections would stay, and more with each try.
        await self.close()
        self._member = Member(self._address, self._stream, self._group, self._session_s, assignments)
        await self._member.join()

    async def fetch(self, max_records: int, timeout_s: float) -> list[StoredRecord]:
        """As in the contract; empty at once after `close`."""
        member = self._started()
        await member.check()
        member.membership.drop_expired()
        return await member.inbox.fetch(max_records, timeout_s, member.membership.drop_expired)

    async def commit(self, commits: Mapping[int, Commit]) -> None:
        """As in the contract. A note that is too long is `Unsupported`, and nothing is stored."""
        member = self._started()
        longest = max((len(commit.note) for commit in commits.values()), default=0)
        if longest > NOTE_BYTES:
            raise Unsupported(f"a note of {longest} bytes; the RabbitMQ queue takes {NOTE_BYTES}, as its promises say")
        epochs = member.membership.epochs(commits)
        # The connection that writes may be the first to be there again, and what was read may be something else by now.
        for number in await member.inbox.begun_anew(epochs, _READ_AGAIN_S):
            del epochs[number]
        stored = await member.membership.commit(epochs, commits) if epochs else set()
        if len(stored) < len(commits):
            raise Fenced(commits.keys() - stored)

    def _started(self) -> Member:
        if self._member is None:
            raise QueueError("this consumer was not started; call `start` first")
        return self._member

    async def close(self) -> None:
        """As in the contract."""
        if self._member is not None:
            await self._member.leave()
