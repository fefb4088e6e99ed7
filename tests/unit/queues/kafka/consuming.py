"""A consumer in a made-up world."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from forebay.queues.contract import Commit
from forebay.queues.errors import QueueError
from forebay.queues.kafka import consumer as kafka_consumer
from forebay.queues.kafka import group_client, inbox, member, rebalances
from forebay.queues.kafka.admin import Admin
from forebay.queues.kafka.clients import Clients
from forebay.queues.kafka.commands import Commands
from forebay.queues.kafka.consumer import KafkaConsumer
from forebay.queues.kafka.member import Member
from forebay.queues.kafka.topics import Topics

from .fetching import PARTITIONS
from .groups import Group, WallClock
from .memberships import STREAM
from .restless import Client
from .stepping import SteppingLoop
from .users import User

#: As the inbox counts a record.
_RECORD_BYTES = 500


class World(User):
    """A consumer, its group and its user.

    What is noted is done while the member's thread, which is the test's own, is in its client or waits for the loop.
    """

    def __init__(self) -> None:
        self.acts, self.stops_early = deque[Callable[[], object]](), False
        super().__init__(SteppingLoop(self.act_between), Group(self._meanwhile))
        self.errors = list[Any]()
        self.left: list[Callable[[], object]] = []
        WallClock.back_s = 0.0
        self._patch = pytest.MonkeyPatch()
        self._stand_in()
        self.loop.set_exception_handler(lambda loop, context: self.errors.append(context))
        self.consumer: Any = KafkaConsumer(
            cast(Clients, self.group), cast(Admin, None), cast(Topics, self), STREAM, "g", session_s=10
        )
        self.run(self.consumer.start, self)
        for number in PARTITIONS:
            self.group.write(number, 4, 0)
        self.client(Client.give, {0, 1})
        self.client(Client.work)

    def _stand_in(self) -> None:
        world, time = self, SimpleNamespace(monotonic=self.loop.time)

        class Driven(Member):
            def __init__(self, **parts: Any) -> None:
                super().__init__(**parts, clock=world.loop.time)

            def start(self) -> None:
                """The tests do what its thread would."""

        class Obeyed(Commands):
            def obey(self, wait_s: float = 0) -> None:
                if wait_s and self._waiting.empty():
                    world.wait(wait_s, self._waiting.empty)
                else:
                    world.act_between()
                super().obey()

        async def agreed(*_: object) -> str:
            """Sessions are as long as they are."""
            return "consumer"

        for module in (kafka_consumer, rebalances):
            self._patch.setattr(module, "time", time)
        for module in (member, rebalances, group_client):
            for level in ("info", "warning", "error"):
                self._patch.setattr(module.log, level, self._hear)
        self._patch.setattr(kafka_consumer, "Member", Driven)
        self._patch.setattr(kafka_consumer, "Commands", Obeyed)
        self._patch.setattr(kafka_consumer, "Request", self._request)
        self._patch.setattr(kafka_consumer, "agreed_protocol", agreed)
        self._patch.setattr(group_client, "WallClock", WallClock)
        self._patch.setattr(group_client, "closes", self._closes)
        self._patch.setattr(group_client, "_BATCH", 4)
        self._patch.setattr(group_client, "_PATIENCE_S", 0.02)
        self._patch.setattr(inbox, "_HIGH_BYTES", 3 * _RECORD_BYTES)
        self._patch.setattr(inbox, "_LOW_BYTES", _RECORD_BYTES)

    def _hear(self, text: str, **more: object) -> None:
        self.was_late = self.was_late or "in time" in text
        if "thread ended" in text:
            self.errors.append(more)

    def _closes(self, close: Any, is_waiting: Callable[[], bool]) -> bool:
        client: Client = close.__self__
        assert not client.is_left
        client.is_left = True
        self.act()
        if client.is_stranded or client.hangs:
            client._be_out()
            self.left.append(close)
            return False
        close()
        return True

    # The loop, and what happens while the thread waits.

    def wait(self, seconds: float, is_idle: Callable[[], bool]) -> None:
        """The thread waits for the loop."""
        self.act()
        until = self.loop.time() + seconds
        while is_idle() and (left := until - self.loop.time()) > 0:
            self.run(asyncio.sleep, min(left, 0.01))

    def _meanwhile(self, seconds: float) -> None:
        """The thread waits for its client."""
        self.act()
        self.loop.stand_still(seconds)

    def act(self) -> None:
        if self.acts:
            self.acts.popleft()()
        elif self.consumer._inbox.is_full and not self.consumer._member._commands.is_over:
            # Otherwise it would wait for ever.
            self.fetch(100)
            if self.end is not None:
                self.close_consumer()

    def act_between(self) -> None:
        """The thread is held up between two things that it does."""
        if self.acts and not self.loop.is_busy:
            self.acts.popleft()()

    def do(self, what: Callable[..., object], *with_: Any) -> None:
        self.acts.append(partial(what, *with_))

    def client(self, what: Callable[..., object], *with_: Any) -> None:
        # The client of that moment, which may not be that of now.
        self.do(lambda: what(self.group.client, *with_))

    @property
    def is_ending(self) -> bool:
        """Whether the thread is about to leave: what is noted from now on happens meanwhile."""
        return self.stops_early or self.consumer._member._commands.is_over

    # What goes wrong.

    def close_one_that_was_left(self) -> None:
        if self.left:
            self.left.pop(0)()

    def set_clock_back(self, *, hangs: bool) -> None:
        # The group may just have given it something, of which it hears when it closes.
        self.group.client.give(PARTITIONS)
        self.group.client.hangs = hangs
        WallClock.back_s = 60.0
        # The client is given up, whatever is on its way.
        self.group.has_parted = True

    def turn(self) -> None:
        """Let the thread do what it does between two looks at whether it shall end. What is noted then waits."""
        if not self.is_ending:
            self.consumer._member._turn()

    def look(self) -> None:
        """See that nothing went wrong."""
        self.run(asyncio.sleep, 0)
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            assert task.cancelled() or task.exception() is None
        assert not self.errors, self.errors

    # The end.

    def close(self) -> None:
        try:
            self._end()
            self.look()
        finally:
            self._patch.undo()
            self.loop.close()

    def _end(self) -> None:
        while self.acts and not self.is_ending:
            self.act()
        if not self.is_ending:
            self._come_to_read_all()
            self._see_whether_it_may_commit()
        self.close_consumer()
        self.consumer._member._poll_to_the_end()
        while self.acts:
            self.act()
        self.run(asyncio.sleep, 10)
        assert self.closing is not None
        assert self.closing.done()
        # Commits wait for each other, and each may ask for a second which topic it is.
        self.run(asyncio.sleep, 60)
        assert self.held == {}
        assert all(task.done() for task in self._tasks)
        assert all(len(answers) == 1 for answers in self.answers)

    def _come_to_read_all(self) -> None:
        self.grace_s = 0.0
        for _ in range(60):
            self.group.relent()
            self.group.client.hear()
            self.group.client.give(PARTITIONS)
            self.group.client.work()
            self.turn()
            self.run(asyncio.sleep, 0.01)
            self.fetch(100)
            if self._has_read_all or self.end is not None:
                return
        raise AssertionError("something is never read")

    def _see_whether_it_may_commit(self) -> None:
        if self.is_anew and self.held:
            refused = self.begin(self._commit_what_was_read_before())
            while not refused.done():
                self.group.client.work()
                self.turn()
                self.run(asyncio.sleep, 0.1)

    async def _commit_what_was_read_before(self) -> None:
        with pytest.raises(QueueError, match="made anew"):
            await self.consumer.commit({number: Commit(offset=one.place) for number, one in self.held.items()})

    @property
    def _has_read_all(self) -> bool:
        return self.held.keys() == set(PARTITIONS) and all(
            held.place > max(self.group.log[number], default=-1) for number, held in self.held.items()
        )
