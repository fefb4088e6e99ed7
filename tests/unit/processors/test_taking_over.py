"""Partitions that become a worker's."""

import asyncio
from collections.abc import Mapping
from contextlib import closing

import pytest

from forebay.queues.contract import Commit
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
