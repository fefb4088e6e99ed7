"""A member that can't do what it should says so, and lets nobody wait for it."""

import asyncio
import threading
from collections.abc import Collection, Mapping
from itertools import pairwise

import pytest

from forebay.queues.errors import QueueUnavailable
from forebay.queues.groups.consumer import LeasedConsumer
from forebay.queues.groups.contract import Beat
from forebay.queues.groups.shares import GroupView
from tests.integration.queues.members import PARTITIONS, Follower

from .hanging import SESSION_S, Hanging


class Sweeping(Hanging):
    """A store in which there is always more to delete."""

    session_s, sweep_every_s = 3600.0, 0.0

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[float] = []
        self.has_looked_often = threading.Event()

    def view(self, connection: object, held: Collection[int]) -> GroupView:
        self.looks.append(self.clock())
        if len(self.looks) > 3:
            self.has_looked_often.set()
        return super().view(connection, held)

    def sweep(self, connection: object, partition: int) -> bool:
        self.clock.now += 0.1
        return True


async def test_who_joins_or_leaves_waits_until_no_more_than_a_stretch_is_deleted() -> None:
    store, follower = Sweeping(), Follower()
    consumer = LeasedConsumer(store.thread, store.member, clock=store.clock)
    await consumer.start(follower)

    assert await asyncio.to_thread(store.has_looked_often.wait, 30)

    assert max(after - before for before, after in pairwise(store.looks)) < 1
    await consumer.close()


class Full(Hanging):
    """A store that can be read, and takes nothing for a while."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error, self.is_full = error, False

    def beat(self, connection: object, held: Mapping[int, int], *, is_leaving: bool) -> Beat:
        if self.is_full:
            raise self.error
        return super().beat(connection, held, is_leaving=is_leaving)


@pytest.mark.parametrize("error", [QueueUnavailable("the disk is full"), TypeError("the disk is full")])
async def test_who_has_lost_everything_and_gets_nothing_anew_is_not_taken_for_well(error: Exception) -> None:
    store, follower = Full(error), Follower()
    consumer = LeasedConsumer(store.thread, store.member, clock=store.clock)
    await consumer.start(follower)
    await follower.owns(PARTITIONS)

    store.is_full = True
    store.clock.now += SESSION_S
    await follower.owns(0)
    with pytest.raises(QueueUnavailable, match="the disk is full"):
        async with asyncio.timeout(30):
            while True:
                await consumer.fetch(1, 0.01)
    store.is_full = False
    await follower.owns(PARTITIONS)

    assert await consumer.fetch(1, 0) == []
    await consumer.close()


class Interrupted(Hanging):
    """A store that does not hear the first time what is given back."""

    def __init__(self) -> None:
        super().__init__()
        self.released: list[dict[int, int]] = []
        self.hears = threading.Event()

    def release(self, connection: object, epochs: Mapping[int, int]) -> None:
        self.released.append(dict(epochs))
        if len(self.released) == 1:
            raise QueueUnavailable("the connection is lost")
        self.hears.set()


async def test_what_was_given_back_is_said_until_it_is_heard() -> None:
    store, follower = Interrupted(), Follower()
    consumer = LeasedConsumer(store.thread, store.member, clock=store.clock)
    await consumer.start(follower)
    await follower.owns(PARTITIONS)

    store.members.add("you")
    await follower.owns(PARTITIONS // 2)

    assert await asyncio.to_thread(store.hears.wait, 30)
    # All of it: what was given back a moment later may have come with it.
    assert store.released[0].items() <= store.released[1].items()
    await consumer.close()


class Unheard(Hanging):
    """A store that does not hear the first goodbye."""

    def __init__(self) -> None:
        super().__init__()
        self.goodbyes = 0

    def leave(self, connection: object) -> None:
        self.goodbyes += 1
        if self.goodbyes == 1:
            raise QueueUnavailable("the connection is lost")
        super().leave(connection)


async def test_a_goodbye_that_was_not_heard_is_said_again() -> None:
    store = Unheard()
    consumer = LeasedConsumer(store.thread, store.member, clock=store.clock)
    await consumer.start(Follower())

    await consumer.close()

    assert store.has_left.is_set()
    assert store.goodbyes == 2


async def test_who_can_start_no_thread_to_commit_in_gives_back_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    store, follower = Hanging(), Follower()
    consumer = LeasedConsumer(store.thread, store.member, clock=store.clock)
    await consumer.start(follower)
    await follower.owns(PARTITIONS)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    async with asyncio.timeout(30):
        await consumer.close()

    assert follower.told == ["assigned"] * PARTITIONS + ["revoked"] * PARTITIONS
    assert store.has_left.is_set()
