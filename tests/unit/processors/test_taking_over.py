"""Partitions that become a worker's."""

import asyncio
from collections.abc import Mapping
from contextlib import closing

import pytest

from forebay.queues.contract import Commit, StoredRecord
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryConsumer
from tests.parking.world import World


def test_partitions_that_come_together_share_a_commit_before_their_events_are_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.parking.world.PARTITIONS", 100)
    commit, commits_made = MemoryConsumer.commit, list[int]()

    async def slow_commit(self: MemoryConsumer, commits: Mapping[int, Commit]) -> None:
        await asyncio.sleep(0.1)
        await commit(self, commits)
        commits_made.append(len(commits))

    monkeypatch.setattr(MemoryConsumer, "commit", slow_commit)
    with closing(World()) as world:
        world.send("a.example", 1)
        world.start()
        world.let(0.3)

        # The one that asked first, and all the others.
        assert commits_made[0] == 1
        assert commits_made[1] >= 99
        assert world.done["a.example"] == [1]


def test_a_worker_is_not_ready_before_it_has_read_from_the_queue_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asks_whether_it_was_let_in(
        self: MemoryConsumer, max_records: int, timeout_s: float
    ) -> list[StoredRecord]:
        await asyncio.sleep(timeout_s)
        raise QueueUnavailable("the group has not let us in")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryConsumer, "fetch", asks_whether_it_was_let_in)
        worker = world.start()
        was_ready = list[bool]()
        for _ in range(20):
            world.let(0.1)
            was_ready.append(worker.health.is_ready)
    world.let(5)

    assert not any(was_ready)
    assert worker.health.is_ready
