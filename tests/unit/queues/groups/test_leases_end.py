"""Leases end when they end, whatever the store does meanwhile."""

import asyncio
import os
import threading
from collections.abc import Mapping

import pytest

from forebay.queues.contract import Commit
from forebay.queues.errors import Fenced, QueueUnavailable
from forebay.queues.groups.consumer import LeasedConsumer
from forebay.queues.groups.contract import Beat
from tests.integration.queues.members import PARTITIONS, Follower

from .hanging import SESSION_S, Hanging


async def test_what_a_store_that_hangs_can_not_prolong_is_lost_while_it_still_hangs() -> None:
    store, follower = Hanging(), Follower()
    consumer = LeasedConsumer(store.thread, store.member, clock=store.clock)
    await consumer.start(follower)
    await follower.owns(PARTITIONS)

    store.hang()
    async with asyncio.timeout(30):
        await follower.owns(0)

    assert not store.answers.is_set()
    assert follower.told == ["assigned"] * PARTITIONS + ["lost"] * PARTITIONS
    store.answers.set()
    await follower.owns(PARTITIONS)
    await consumer.close()


class Slow(Follower):
    """Gives nothing back before it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.lets_go = asyncio.Event(), asyncio.Event()

    async def revoked(self, partition: int) -> None:
        self.asked.set()
        await self.lets_go.wait()
        if partition in self.owned:
            await super().revoked(partition)


async def test_what_was_asked_back_and_lost_can_be_given_back_when_it_is_ours_again() -> None:
    store, follower = Hanging(), Slow()
    consumer = LeasedConsumer(store.thread, store.member, clock=store.clock)
    await consumer.start(follower)
    await follower.owns(PARTITIONS)

    store.members.add("you")
    await follower.asked.wait()
    store.hang()
    async with asyncio.timeout(30):
        await follower.owns(0)
    store.members.remove("you")
    store.answers.set()
    await follower.owns(PARTITIONS)
    follower.lets_go.set()

    async with asyncio.timeout(30):
        await consumer.close()
    assert follower.told[2 * PARTITIONS :] == ["assigned"] * PARTITIONS + ["revoked"] * PARTITIONS


class Fleeting(Hanging):
    """A store where another has everything for a moment, between two heartbeats."""

    def __init__(self) -> None:
        super().__init__()
        self.is_anothers = self.was_anothers = False
        self.is_ours_again = threading.Event()
        self.committed: dict[int, int] = {}

    def check(self, connection: object) -> None:
        # Each look begins so, when all that the one before it decided is done.
        if self.was_anothers:
            self.is_ours_again.set()

    def beat(self, connection: object, held: Mapping[int, int], *, is_leaving: bool) -> Beat:
        if self.is_anothers:
            held, self.is_anothers, self.was_anothers = {}, False, True
        return super().beat(connection, held, is_leaving=is_leaving)

    def commit(self, connection: object, epochs: Mapping[int, int], commits: Mapping[int, Commit]) -> set[int]:
        self.committed |= epochs
        return set(epochs)


async def test_a_commit_from_before_a_partition_was_lost_is_fenced_although_it_is_ours_again() -> None:
    store, follower = Fleeting(), Follower()
    consumer = LeasedConsumer(store.thread, store.member, clock=store.clock)
    await consumer.start(follower)
    await follower.owns(PARTITIONS)

    store.is_anothers = True
    store.clock.now += SESSION_S / 2
    # The loop is told of nothing meanwhile: that is what this is about.
    assert store.is_ours_again.wait(30)
    with pytest.raises(Fenced):
        await consumer.commit({0: Commit(offset=1)})

    assert store.committed == {}
    await asyncio.sleep(0)
    assert follower.told == ["assigned"] * PARTITIONS + ["lost"] * PARTITIONS + ["assigned"] * PARTITIONS
    await consumer.commit({0: Commit(offset=1)})
    assert store.committed.keys() == {0}
    await consumer.close()


class Full(Hanging):
    """A store that can be read, but takes nothing."""

    def beat(self, connection: object, held: Mapping[int, int], *, is_leaving: bool) -> Beat:
        raise QueueUnavailable("the disk is full")


async def test_a_start_that_fails_again_and_again_leaves_no_file_open() -> None:
    store = Full()
    consumer = LeasedConsumer(store.thread, store.member, clock=store.clock)

    open_files = []
    for _ in range(4):
        with pytest.raises(QueueUnavailable):
            await consumer.start(Follower())
        open_files.append(len(os.listdir("/dev/fd")))

    assert open_files == open_files[:1] * 4
    await consumer.close()


async def test_a_close_that_was_given_up_can_be_called_again_and_gives_everything_back() -> None:
    store, follower = Hanging(), Slow()
    consumer = LeasedConsumer(store.thread, store.member, clock=store.clock)
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    closing = asyncio.create_task(consumer.close())
    await follower.asked.wait()
    closing.cancel()
    await asyncio.wait([closing])

    closing = asyncio.create_task(consumer.close())
    await asyncio.wait([closing], timeout=SESSION_S)
    is_waiting = not closing.done()
    follower.lets_go.set()
    async with asyncio.timeout(30):
        await closing

    assert is_waiting
    assert follower.told == ["assigned"] * PARTITIONS + ["revoked"] * PARTITIONS
    assert store.has_left.wait(30)


async def test_what_was_lost_while_it_was_given_back_may_be_let_go_after_the_end() -> None:
    store, follower = Hanging(), Slow()
    consumer = LeasedConsumer(store.thread, store.member, clock=store.clock)
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    store.members.add("you")
    await follower.asked.wait()
    store.hang()
    async with asyncio.timeout(30):
        await follower.owns(0)

    closing = asyncio.create_task(consumer.close())
    await asyncio.sleep(0)
    store.answers.set()
    async with asyncio.timeout(30):
        await closing
    revoking = asyncio.all_tasks() - {asyncio.current_task()}
    follower.lets_go.set()

    assert revoking
    await asyncio.gather(*revoking)
