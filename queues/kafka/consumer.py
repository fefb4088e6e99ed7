"""The reading side: what the event loop sees of a group's member."""

import asyncio
import time
from collections.abc import Collection, Mapping
from functools import partial

from forebay.queues.contract import Assignments, Commit, StoredRecord
from forebay.queues.errors import Fenced, QueueError, QueueUnavailable
from forebay.queues.telling import settle

from .admin import Admin
from .clients import Clients
from .commands import Commands
from .commits import Regrouping, Request
from .inbox import Inbox
from .member import JOINING_S, Member
from .notes import Notes
from .ownership import Ownership
from .protocol import agreed_protocol
from .topics import Topics

#: So long may the question whether it is still the same topic hold up a commit.
_TOPIC_S = 1.0

#: So long may a commit wait for the end of a rebalance, asking so often.
_REGROUPING_S = 5.0
_AGAIN_S = 0.05

#: Between two looks whether the group has let us in.
_LOOK_S = 0.02


class KafkaConsumer:
    """Polls in a thread; here is what it read, and the way to commit."""

    def __init__(
        self,
        clients: Clients,
        admin: Admin,
        topics: Topics,
        stream: str,
        group: str,
        *,
        session_s: float,
    ) -> None:
        self._clients, self._admin, self._topics = clients, admin, topics
        self._stream, self._group, self._session_s = stream, group, session_s
        self._member: Member | None = None
        self._committing = asyncio.Lock()

    async def start(self, assignments: Assignments) -> None:
        """As in the contract. Raises `UnknownStream` and `QueueUnavailable`."""
        self._topic_id = await self._topics.id(self._stream)
        self._notes = Notes(self._topic_id)
        asked = self._clients.asked_protocol
        protocol = await agreed_protocol(self._admin, asked, self._group, self._session_s)
        commands = Commands()
        self._inbox = Inbox(commands.nudge)
        self._ownership = Ownership(assignments, self._inbox, self._committing)
        member = Member(
            clients=self._clients,
            stream=self._stream,
            group=self._group,
            session_s=self._session_s,
            protocol=protocol,
            ownership=self._ownership,
            inbox=self._inbox,
            commands=commands,
            notes=self._notes,
        )
        member.start()
        self._member = member
        await self._joined(member)

    async def _joined(self, member: Member) -> None:
        """Return when the group has let us in. Where it does not, `fetch` says why, now or when it has taken long."""
        until = time.monotonic() + JOINING_S
        while member.is_absent and not self._inbox.has_complaint and time.monotonic() < until:
            await asyncio.sleep(_LOOK_S)

    async def fetch(self, max_records: int, timeout_s: float) -> list[StoredRecord]:
        """As in the contract; empty at once after `close`."""
        member = self._started()
        found = await self._inbox.take(max_records, timeout_s)
        if not found and not self._inbox.is_closed:
            member.check()
        return found

    async def commit(self, commits: Mapping[int, Commit]) -> None:
        """As in the contract. A note that is too long is `Unsupported`, and nothing is stored."""
        member = self._started()
        epochs = self._ownership.epochs_of(commits)
        ask = partial(Request, commits=commits, epochs=epochs, rewritten=self._ownership.rewritten_of(epochs))
        for commit in commits.values():
            self._notes.encode(commit.note)
        if commits and not epochs:
            raise Fenced(commits.keys())
        if not commits:
            return
        async with self._committing:
            await self._check_topic(commits)
            await self._commit(member, ask)

    async def _check_topic(self, partitions: Collection[int]) -> None:
        """Raise when the topic was made anew: what was read of it began at a place of the old one.

        A commit would have the group skip what stands before. Without one it begins at the first record, as the brokers
        have forgotten its offsets together with the old topic.
        """
        try:
            found = await self._topics.id(self._stream, _TOPIC_S)
        except QueueUnavailable:
            # Who can't say that is no reason to commit nothing.
            return
        if found != self._topic_id:
            raise QueueError(_made_anew(self._group, self._stream, partitions))

    async def _commit(self, member: Member, ask: "partial[Request]") -> None:
        """Ask again during a rebalance: a member that keeps its partition is not told of the new generation."""
        until = time.monotonic() + _REGROUPING_S
        while True:
            try:
                return await _answer(member, ask)
            except Regrouping:
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(_AGAIN_S)

    async def close(self) -> None:
        """As in the contract."""
        if self._member is not None:
            self._inbox.close()
            await self._member.stop()

    def _started(self) -> Member:
        if self._member is None:
            raise QueueError("this consumer was not started; call `start` first")
        return self._member


def _made_anew(group: str, stream: str, partitions: Collection[int]) -> str:
    return (
        f"{stream} was made anew while group {group} read it; what was finished in partitions {sorted(partitions)} is "
        "not committed, as that would skip what stands before. Look at `forebay lag`, and start again: where the group "
        "has no offset it begins with the first record (kafka-consumer-groups --reset-offsets moves it)"
    )


async def _answer(member: Member, ask: "partial[Request]") -> None:
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[None] = loop.create_future()

    def answer(error: QueueError | None) -> None:
        loop.call_soon_threadsafe(settle, answered, error)

    member.commit(ask(answer=answer))
    await answered
