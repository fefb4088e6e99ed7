"""When a move is refused."""

from collections.abc import Collection
from dataclasses import replace

import pytest

from forebay.console.moving.errors import CantMove, NotNow
from forebay.console.moving.move import Move
from forebay.queues.contract import Bounds
from forebay.queues.memory import MemoryConsumer, MemoryInspector, MemoryQueue
from forebay.schemas import names
from tests.moving.records import DAY_MS, GIVEN, TOPIC, A, B, a_record, commit, put, there, values
from tests.moving.sides import a_move, carried, no_sleep


async def test_several_groups_that_have_finished_different_events_are_refused_until_one_is_named(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(5)))
    commit(queue, "forebay", A, 2, [])
    commit(queue, "audit", A, 4, [])

    with pytest.raises(CantMove, match=r"audit: 1 not finished\n  - forebay: 3 not finished"):
        await a_move(queue, target, GIVEN).plan()
    with pytest.raises(CantMove, match="has no such group, but audit, forebay"):
        await replace(a_move(queue, target, GIVEN), group="forbay").plan()
    named = await replace(a_move(queue, target, GIVEN), group="audit").plan()
    commit(queue, "audit", A, 2, [])
    same = await a_move(queue, target, GIVEN).plan()

    assert (named.records, [lack.group for lack in named.chosen.differing]) == (1, ["forebay"])
    assert (same.records, same.chosen.differing) == (3, [])


async def test_a_group_of_the_settings_that_was_never_there_is_not_taken_for_the_one_that_was(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, a_record(A, 1), a_record(A, 2))
    commit(queue, "shop", A, 1, [])

    with pytest.raises(CantMove, match=r"forebay: 2 not finished \(it was never there\)"):
        await a_move(queue, target, GIVEN).plan()


async def test_it_is_refused_while_something_waits_in_the_target(queue: MemoryQueue, target: MemoryQueue) -> None:
    await target.ensure(names.streams(TOPIC), 4)
    await put(queue, TOPIC, a_record(A, 1))
    await put(target, TOPIC, a_record(A, 7))

    with pytest.raises(NotNow, match="memory://new has events that group forebay has not finished"):
        await carried(a_move(queue, target, GIVEN))
    commit(target, "forebay", A, 1, [])
    await carried(a_move(queue, target, GIVEN))

    assert values(target, A) == [7, 1]


async def test_a_queue_that_still_has_what_was_moved_from_it_is_no_way_back(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, a_record(A, 1), a_record(A, 2))
    await carried(a_move(queue, target, GIVEN))
    commit(target, "forebay", A, 2, [])
    await put(target, TOPIC, a_record(A, 3))

    with pytest.raises(NotNow, match=r"memory://new still has what was moved from it to .*: make its streams anew"):
        await carried(a_move(target, queue, GIVEN))
    for stream in names.streams(TOPIC):
        queue.logs[stream] = [[] for _ in range(4)]
    await carried(a_move(target, queue, GIVEN))

    assert values(queue, A) == [3]


async def test_nor_is_one_that_has_letters_that_were_moved_and_events_that_it_has_handled_itself(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, a_record(A, 1))
    await put(queue, names.dead(TOPIC), a_record(A, 5))
    await carried(a_move(queue, target, GIVEN))
    commit(queue, "forebay", A, 1, [])
    commit(target, "forebay", A, 1, [])

    with pytest.raises(NotNow, match="memory://new still has what was moved from it"):
        await carried(a_move(target, queue, GIVEN))


async def test_a_queue_that_was_gone_back_to_is_told_of_what_came_since(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, a_record(A, 1))
    await carried(a_move(queue, target, GIVEN))
    commit(queue, "forebay", A, 1, [])
    await put(queue, TOPIC, a_record(A, 2))

    with pytest.raises(NotNow, match="memory://new has events that group forebay has not finished"):
        await carried(a_move(target, queue, GIVEN))


async def test_it_is_refused_while_the_source_withholds_records(
    queue: MemoryQueue, target: MemoryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing can be read of it, and so there would be nothing to move.
    async def bounds(self: MemoryInspector, stream: str, only: Collection[int] | None = None) -> dict[int, Bounds]:
        return {2: Bounds(start=0, end=0, withheld=3 if stream == TOPIC else 0)}

    monkeypatch.setattr(MemoryInspector, "bounds", bounds)

    with pytest.raises(NotNow, match=rf"3 records of {TOPIC} \(partitions 2\) can't be read before another program"):
        await a_move(queue, target, GIVEN).plan()


@pytest.mark.parametrize("side", ["source", "target"])
async def test_it_is_refused_while_a_worker_runs_on_a_side(queue: MemoryQueue, target: MemoryQueue, side: str) -> None:
    await target.ensure(names.streams(TOPIC), 4)
    await put(queue, TOPIC, a_record(A, 1))
    group = (queue if side == "source" else target).group_states[TOPIC, "forebay"]
    group.owners[2] = MemoryConsumer(queue, TOPIC, "forebay")

    with pytest.raises(NotNow, match=r"workers of group forebay run on memory://\w+, with partitions 2"):
        await carried(a_move(queue, target, GIVEN))

    assert there(target) == []


@pytest.mark.parametrize("side", ["source", "target"])
async def test_it_is_refused_when_something_is_written_on_a_side_before_it_begins(
    queue: MemoryQueue, target: MemoryQueue, side: str
) -> None:
    await target.ensure(names.streams(TOPIC), 4)
    await put(queue, TOPIC, a_record(A, 1))

    async def write(_: float) -> None:
        await put(queue if side == "source" else target, TOPIC, a_record(B, 1))

    with pytest.raises(NotNow, match="is written to"):
        await carried(replace(a_move(queue, target, GIVEN), sleep=write))

    assert values(target, A) == []


@pytest.mark.parametrize("runs", [[], [(1, 2)]])
@pytest.mark.parametrize("side", ["source", "target"])
async def test_it_is_refused_when_workers_finished_something_before_it_begins(
    queue: MemoryQueue, target: MemoryQueue, side: str, runs: list[tuple[int, int]]
) -> None:
    await target.ensure(names.streams(TOPIC), 4)
    await put(queue, TOPIC, *(a_record(A, number) for number in range(3)))
    commit(queue, "forebay", A, 0, [])

    async def work(_: float) -> None:
        commit(queue if side == "source" else target, "forebay", A, 0 if runs else 1, runs)

    with pytest.raises(NotNow, match=r"workers of group forebay went on with memory://\w+ meanwhile, in partitions"):
        await carried(replace(a_move(queue, target, GIVEN), sleep=work))

    assert there(target) == []


class _Forgetful(MemoryQueue):
    """Takes records of the topic that are older than a week."""

    async def keeps_ms(self, stream: str) -> int | None:
        return 7 * DAY_MS if stream == TOPIC else None


@pytest.mark.parametrize(("age_ms", "is_taken"), [(6.5 * DAY_MS, True), (5.5 * DAY_MS, False)])
async def test_what_the_target_would_take_before_it_is_handled_is_refused(
    queue: MemoryQueue, age_ms: float, *, is_taken: bool
) -> None:
    await put(queue, TOPIC, replace(a_record(A, 1), timestamp_ms=1000 * DAY_MS))
    await put(queue, names.dead(TOPIC), a_record(A, 0))
    target = _Forgetful()
    move: Move = replace(a_move(queue, target, GIVEN), now_ms=lambda: 1000 * DAY_MS + int(age_ms))

    try:
        await carried(move)
    except NotNow as refused:
        assert "keeps records for 7 days from their own time (retention.ms=604800000)" in str(refused)
        assert "--entity-name bitrix24.events --add-config retention.ms=-1" in str(refused)

    assert (there(target) == []) is is_taken


async def test_a_queue_is_no_target_of_itself(queue: MemoryQueue) -> None:
    with pytest.raises(CantMove, match="is the source and the target"):
        await replace(a_move(queue, queue, GIVEN, name="memory://old"), sleep=no_sleep).plan()


async def test_what_stands_in_partitions_that_were_added_to_the_topic_alone_is_left_behind_by_no_move(
    queue: MemoryQueue, target: MemoryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def partitions(self: MemoryInspector, stream: str) -> int:
        return 4

    monkeypatch.setattr(MemoryInspector, "partitions", partitions)
    await put(queue, TOPIC, a_record(A, 1))
    [stands] = [record for log in queue.logs[TOPIC] for record in log]
    queue.logs[TOPIC].append([stands])

    with pytest.raises(CantMove, match=f"stands in partitions 4 of {TOPIC}, which were added to it alone"):
        await a_move(queue, target, GIVEN).plan()
    queue.logs[TOPIC][4].clear()

    assert (await a_move(queue, target, GIVEN).plan()).records == 1
