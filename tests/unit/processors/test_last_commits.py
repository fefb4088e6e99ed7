"""The last commit of a partition that goes: with the others', and more than once."""

import asyncio
from collections.abc import Mapping
from unittest.mock import AsyncMock

import pytest
from structlog.testing import capture_logs

from forebay.queues.contract import Commit
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryConsumer

from .places import Place


async def test_partitions_that_go_together_are_committed_together(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[int]] = []

    async def slow(consumer: MemoryConsumer, commits: Mapping[int, Commit]) -> None:
        calls.append(sorted(commits))
        await asyncio.sleep(0.01)

    monkeypatch.setattr(MemoryConsumer, "commit", slow)
    for number in range(1, 100):
        place.ownership.assigned(number, Commit(offset=0))
    for one in place.ownership:
        one.has_news = True
    place.ownership.leave()

    await asyncio.gather(*(place.ownership.revoked(one.number) for one in place.ownership))

    assert calls == [list(range(100))]
    assert list(place.ownership) == []


async def test_the_last_commit_is_tried_again_for_a_moment_when_the_queue_does_not_take_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, lane, _ = place.take_in(0)
    place.then.finish_first(lane, 1)
    failing, commit = [QueueUnavailable("the connection is lost")], MemoryConsumer.commit

    async def lossy(consumer: MemoryConsumer, commits: Mapping[int, Commit]) -> None:
        if failing:
            raise failing.pop()
        await commit(consumer, commits)

    monkeypatch.setattr(MemoryConsumer, "commit", lossy)

    with capture_logs() as logs:
        await place.ownership.revoked(0)

    assert place.committed() == 1
    assert [one["event"] for one in logs if one["log_level"] == "warning"] == ["commit failed; it is tried again"]


async def test_partitions_go_without_a_commit_that_the_queue_never_takes_and_ask_for_it_together(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = AsyncMock(side_effect=QueueUnavailable("it is gone"))
    monkeypatch.setattr(MemoryConsumer, "commit", refuse)
    for number in range(1, 100):
        place.ownership.assigned(number, Commit(offset=0))
    for one in place.ownership:
        one.has_news = True

    with capture_logs() as logs:
        await asyncio.gather(*(place.ownership.revoked(one.number) for one in place.ownership))

    assert 1 < refuse.await_count < 10
    told = [one["partition"] for one in logs if one["event"] == "partition given back without its last commit"]
    assert sorted(told) == list(range(100))
    assert list(place.ownership) == []
