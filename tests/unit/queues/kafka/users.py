"""The user of a consumer, who sees that it keeps its promises."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from forebay.queues.contract import Commit
from forebay.queues.errors import Fenced, QueueError, QueueUnavailable, UnknownStream
from forebay.queues.kafka.commits import Request

from .groups import Group
from .stepping import SteppingLoop


@dataclass(eq=False, slots=True)
class Held:
    """A partition of ours, from its assignment to its end."""

    #: Behind the last record that it gave.
    place: int
    is_asked_back: bool = False
    is_lost: bool = False
    is_rewritten: bool = False


@dataclass(eq=False, slots=True)
class Committing:
    """A commit, and how the world was when it was asked for."""

    commits: dict[int, Commit]
    held: dict[int, Held]
    kept: int
    fenced: int


class User:
    """The contract's `Assignments`, and whoever fetches and commits."""

    consumer: Any

    def __init__(self, loop: SteppingLoop, group: Group) -> None:
        self.loop, self.group = loop, group
        self.held: dict[int, Held] = {}
        self.grace_s, self.commits_last, self.was_late = 0.0, True, False
        self.topic_s, self.topic_is_away = 0.0, False
        self._tasks = set[asyncio.Task[Any]]()
        self.closing: asyncio.Task[Any] | None = None
        #: Why nothing can be read any more.
        self.end: str | None = None
        #: What each request for a commit was answered.
        self.answers: list[list[QueueError | None]] = []

    @property
    def is_anew(self) -> bool:
        """Whether the topic was made anew."""
        return len(self.group.topics) > 1

    async def id(self, stream: str, answer_s: float = 0) -> str:
        """For the consumer's `Topics`."""
        await asyncio.sleep(self.topic_s)
        if self.topic_is_away and not self.is_anew:
            raise QueueUnavailable("nobody says which topic it is")
        return str(len(self.group.topics))

    def run(self, what: Callable[..., Coroutine[Any, Any, Any]], *with_: Any) -> Any:
        return self.loop.run_until_complete(what(*with_))

    def assigned(self, partition: int, committed: Commit) -> None:
        assert partition not in self.held
        # It may be another's already, who has gone on.
        first, topic = self.group.first(partition), self.group.topics[-1]
        behind = topic.behind(partition, first)
        assert committed.offset <= (topic.ends[partition] if behind is None else behind) or self.is_anew
        self.held[partition] = Held(committed.offset)

    async def revoked(self, partition: int) -> None:
        held = self.held[partition]
        held.is_asked_back = True
        await asyncio.sleep(self.grace_s)
        if self.commits_last:
            await self.commit([partition])
        if self.held.get(partition) is held:
            del self.held[partition]

    def lost(self, partition: int) -> None:
        self.held.pop(partition).is_lost = True

    def rewritten(self, partition: int, offset: int) -> None:
        held = self.held[partition]
        assert held.place <= offset
        assert not held.is_rewritten
        held.is_rewritten = True

    def gap(self, partition: int, start: int, end: int) -> None:
        assert any(topic.has_gap(partition, start, end) for topic in self.group.topics)
        assert self.held[partition].place <= start < end

    def fetch(self, most: int) -> None:
        self.run(self.read, most)

    async def read(self, most: int) -> None:
        try:
            found = await self.consumer.fetch(most, 0)
        except (QueueUnavailable, UnknownStream):
            return
        except QueueError as error:
            self._come_to_its_end(str(error))
            return
        assert self.end is None or self.closing is not None
        for record in found:
            held = self.held[record.partition]
            assert not held.is_asked_back
            # Who reads on in a topic that was made anew skips what stands before.
            assert record.offset in [topic.behind(record.partition, held.place) for topic in self.group.topics]
            held.place = record.offset + 1

    def _come_to_its_end(self, why: str) -> None:
        assert self.end in (None, why)
        assert self.group.may_be_over
        self.end = why
        self.group.is_over = self.group.is_over or "can't go on" in why

    async def commit(self, which: list[int]) -> None:
        held = {number: self.held[number] for number in which if number in self.held}
        commits = {number: Commit(offset=one.place) for number, one in held.items()}
        # What was read of a topic that was made anew is not committed.
        self.group.asked |= set() if self.is_anew else {(number, one.place) for number, one in held.items()}
        asked = Committing(commits, held, len(self.group.kept), self.group.fenced)
        try:
            await self.consumer.commit(commits)
        except Fenced as fenced:
            self._judge(asked, set(fenced.partitions))
        except QueueError:
            return
        else:
            self._judge(asked, set())

    def _judge(self, asked: Committing, fenced: set[int]) -> None:
        for number, commit in asked.commits.items():
            if number not in fenced:
                assert (number, commit.offset) in self.group.kept[asked.kept :]
            elif self.group.fenced == asked.fenced:
                # Even if it was given back meanwhile, what was called before that counts: unless it took too long.
                assert asked.held[number].is_lost or self.group.has_parted or self.was_late

    def _request(self, *, answer: Callable[[QueueError | None], None], **more: Any) -> Request:
        answers: list[QueueError | None] = []
        self.answers.append(answers)

        def once(error: QueueError | None) -> None:
            assert answers == []
            answers.append(error)
            answer(error)

        return Request(answer=once, **more)

    def begin(self, what: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = self.loop.create_task(what)
        self._tasks.add(task)
        return task

    def close_consumer(self) -> None:
        self.closing = self.begin(self.consumer.close())
        self.run(asyncio.sleep, 0)

    def cancel_calls(self) -> None:
        for task in self._tasks:
            task.cancel()
