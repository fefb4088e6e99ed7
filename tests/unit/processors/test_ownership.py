"""Partitions that come and go: nothing of one that went counts any more, nor touches the next one of its number."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from unittest.mock import Mock

import pytest

from forebay.queues.contract import Commit
from forebay.queues.memory import MemoryConsumer

from .places import GROUP, NOW, TOPIC, Place

RESET_AT = "forebay_offset_reset_timestamp_seconds"


async def forever() -> None:
    """What a handler does that waits."""
    await asyncio.Event().wait()


async def lost(place: Place) -> None:
    place.ownership.lost(0)


async def revoked(place: Place) -> None:
    await place.ownership.revoked(0)


async def assigned_anew(place: Place) -> None:
    place.ownership.assigned(0, Commit(offset=0))


@pytest.mark.parametrize("go", [lost, revoked, assigned_anew])
async def test_of_a_partition_that_went_nothing_counts_any_more(
    place: Place, go: Callable[[Place], Awaitable[None]]
) -> None:
    partition, lane, records = place.take_in(0, 1, 2, 3)

    await go(place)
    assert place.held.records == place.held.bytes == 0

    place.then.finish_first(lane, 1)
    place.then.finish_first(lane, 2)
    place.then.finish_all(lane, records[3:])
    assert place.held.records == place.held.bytes == 0
    assert partition.is_gone
    assert [one for one in place.ownership if one is partition] == []


async def test_what_is_finished_is_committed_as_a_partition_goes_and_not_when_it_was_lost(place: Place) -> None:
    _, lane, _ = place.take_in(0, 1)
    place.then.finish_first(lane, 1)

    await place.ownership.revoked(0)
    assert place.committed() == 1

    place.ownership.assigned(0, Commit(offset=1))
    _, lane, _ = place.take_in(1, 2)
    place.then.finish_first(lane, 1)
    place.ownership.lost(0)
    await place.ownership.commit()
    assert place.committed() == 1


async def test_a_partition_that_is_asked_back_begins_nothing_more_and_goes_when_its_handlers_have_ended(
    place: Place,
) -> None:
    partition, lane, _ = place.take_in(0, 1)
    handler = asyncio.create_task(forever())
    partition.enter(handler)

    going = asyncio.create_task(place.ownership.revoked(0))
    await asyncio.sleep(0)
    assert place.ownership.open_one(0) is None
    assert not going.done()

    place.then.finish_first(lane, 1)
    partition.leave(handler)
    await going
    assert place.committed() == 1
    handler.cancel()


@pytest.mark.parametrize("grace_s", [0.0, 60.0])
async def test_who_leaves_waits_no_longer_for_what_was_asked_back_before_and_never_ends(
    place: Place, monkeypatch: pytest.MonkeyPatch, grace_s: float
) -> None:
    monkeypatch.setattr(place.ownership, "_grace_s", grace_s)
    monkeypatch.setattr("forebay.processors.ownership._CANCEL_S", 0.0)
    partition, lane, _ = place.take_in(0, 1)
    thread = asyncio.create_task(forever())
    partition.enter(thread)
    place.then.finish_first(lane, 1)
    going = asyncio.create_task(place.ownership.revoked(0))
    await asyncio.sleep(0.01)
    assert not going.done()

    place.ownership.close()
    place.ownership.leave()
    async with asyncio.timeout(10):
        await going

    assert place.committed() == 1
    thread.cancel()


async def test_what_comes_when_nothing_new_is_to_be_begun_is_left_as_it_was(place: Place) -> None:
    partition, lane, _ = place.take_in(0, 1)
    place.then.finish_first(lane, 1)
    assert place.ownership.close() == [partition]
    await place.ownership.revoked(0)

    place.ownership.assigned(0, Commit(offset=1, note=b"note"))
    assert place.ownership.open_one(0) is None
    place.ownership.gap(0, 1, 7)
    place.ownership.rewritten(0, 1)
    await place.ownership.commit()
    await place.ownership.revoked(0)

    assert place.committed() == 1


async def test_one_that_was_lost_while_it_was_asked_back_takes_nothing_of_the_next(place: Place) -> None:
    partition, lane, _ = place.take_in(0, 1)
    place.then.finish_first(lane, 1)
    handler = asyncio.create_task(forever())
    partition.enter(handler)
    going = asyncio.create_task(place.ownership.revoked(0))
    await asyncio.sleep(0)

    place.ownership.lost(0)
    place.ownership.assigned(0, Commit(offset=0))
    following, _, _ = place.take_in(0, 1)
    partition.leave(handler)
    await going

    assert place.open() is following
    assert place.held.records == 2
    assert place.queue.group_states[TOPIC, GROUP].commits == {}
    assert handler.cancelling()


async def test_a_gap_is_committed_though_nothing_else_is_new(place: Place) -> None:
    place.ownership.gap(0, 0, 7)

    await place.ownership.commit()

    assert place.committed() == 7


async def test_a_partition_without_a_place_is_told_and_one_that_has_one_is_not(place: Place) -> None:
    place.ownership.assigned(0, Commit(offset=5))
    assert place.registry.get_sample_value(RESET_AT) == 0

    place.ownership.assigned(0, Commit(offset=5, is_reset=True))

    assert place.registry.get_sample_value(RESET_AT) == NOW


async def test_what_another_owns_is_let_go_of_when_its_commit_is_refused(place: Place) -> None:
    place.take_in(0, 1)
    place.queue.group_states[TOPIC, GROUP].owners.clear()

    assert await place.ownership.confirm()

    assert list(place.ownership) == []
    assert place.held.records == 0


async def test_what_is_refused_of_a_partition_that_went_meanwhile_is_no_trouble_of_the_next(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers, commit = asyncio.Event(), asyncio.Event(), MemoryConsumer.commit

    async def slow(consumer: MemoryConsumer, commits: Mapping[int, Commit]) -> None:
        asked.set()
        await answers.wait()
        await commit(consumer, commits)

    monkeypatch.setattr(MemoryConsumer, "commit", slow)
    going = asyncio.create_task(place.ownership.confirm())
    await asked.wait()
    place.queue.group_states[TOPIC, GROUP].owners.clear()

    place.ownership.lost(0)
    place.ownership.assigned(0, Commit(offset=0))
    following = place.open()
    answers.set()
    await going

    assert place.open() is following


async def test_what_the_queue_did_not_take_is_confirmed_and_committed_with_the_next_commit_and_not_before(
    place: Place,
) -> None:
    _, lane, _ = place.take_in(0, 1)
    place.then.finish_first(lane, 1)
    place.queue.down = True
    assert not await place.ownership.confirm()
    assert "takes no commits" in str(place.health.report())
    place.queue.down = False

    await place.ownership.commit()

    assert place.committed() == 1
    assert "takes no commits" not in str(place.health.report())
    assert await place.ownership.confirm()


async def test_a_queue_that_takes_commits_again_is_well_also_when_it_refuses_what_another_owns_by_now(
    place: Place,
) -> None:
    _, lane, _ = place.take_in(0)
    place.then.finish_first(lane, 1)
    place.ownership.assigned(1, Commit(offset=0))
    place.queue.down = True
    assert not await place.ownership.confirm()
    place.queue.down = False

    await place.ownership.commit()

    assert [one.number for one in place.ownership] == [0]
    assert place.committed() == 1
    assert "takes no commits" not in str(place.health.report())


async def test_commits_follow_one_another_and_are_of_what_has_news_only(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, lane, _ = place.take_in(0, 1)
    asked, answers = list[int](), asyncio.Event()

    async def slow(consumer: MemoryConsumer, commits: Mapping[int, Commit]) -> None:
        asked.append(commits[0].offset)
        await answers.wait()

    monkeypatch.setattr(MemoryConsumer, "commit", slow)
    place.then.finish_first(lane, 1)
    first = asyncio.create_task(place.ownership.commit())
    await asyncio.sleep(0)
    place.then.finish_first(lane, 1)
    second = asyncio.create_task(place.ownership.commit())
    await asyncio.sleep(0)
    assert asked == [1]

    answers.set()
    await asyncio.gather(first, second)
    await place.ownership.commit()

    assert asked == [1, 2]


async def test_who_has_lost_what_could_not_be_committed_tells_of_it_no_more(place: Place) -> None:
    _, lane, _ = place.take_in(0)
    place.then.finish_first(lane, 1)
    place.ownership.assigned(1, Commit(offset=0))
    place.queue.down = True
    await place.ownership.confirm()
    place.ownership.lost(1)
    assert "takes no commits" in str(place.health.report())

    place.ownership.lost(0)

    assert "takes no commits" not in str(place.health.report())


async def test_what_a_fault_has_kept_from_being_committed_is_committed_at_the_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, lane, _ = place.take_in(0)
    place.then.finish_first(lane, 1)
    with monkeypatch.context() as broken:
        broken.setattr(MemoryConsumer, "commit", Mock(side_effect=RuntimeError("a fault")))
        with pytest.raises(RuntimeError, match="a fault"):
            await place.ownership.commit()

    await place.ownership.revoked(0)

    assert place.committed() == 1
