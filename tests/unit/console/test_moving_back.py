"""A queue from which everything was moved, and into which it is moved again."""

import pytest
from structlog.testing import capture_logs

from forebay.console.checks.moved import moved_findings
from forebay.console.moving.errors import NotNow
from forebay.queues.contract import Record
from forebay.queues.findings import Finding
from forebay.queues.memory import MemoryConsumer, MemoryQueue
from forebay.queues.moves.watch import MoveWatch
from forebay.schemas import names
from tests.moving.records import GIVEN, TOPIC, A, a_record, commit, put, values
from tests.moving.sides import a_move, carried


async def found(queue: MemoryQueue) -> list[Finding]:
    return [finding async for finding in moved_findings(queue.inspector(), TOPIC, "forebay")]


async def test_who_goes_on_with_a_queue_that_was_moved_is_told_where_to_and_what_has_come(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    before = await found(queue)
    await put(queue, TOPIC, a_record(A, 1))
    await carried(a_move(queue, target, GIVEN))
    [moved] = await found(queue)
    await put(queue, TOPIC, a_record(A, 2), a_record(A, 3))
    [came] = await found(queue)

    assert before == await found(target) == []
    assert (moved.state, came.state) == ("fail", "fail")
    assert "moved to memory://new (by " in moved.detail
    assert "0 events have come since, which nobody handles" in moved.detail
    assert "2 events have come since, which nobody handles" in came.detail
    assert "set queue_url to the new queue" in came.remedy


async def test_where_workers_go_on_with_it_nothing_waits_for_ever(queue: MemoryQueue, target: MemoryQueue) -> None:
    await put(queue, TOPIC, a_record(A, 1))
    await carried(a_move(queue, target, GIVEN))
    queue.group_states[TOPIC, "forebay"].owners[2] = MemoryConsumer(queue, TOPIC, "forebay")

    [finding] = await found(queue)

    assert (finding.state, "workers of group forebay handle them" in finding.detail) == ("warn", True)


async def test_a_marker_of_another_version_is_no_reason_to_tell_anything(queue: MemoryQueue) -> None:
    await put(queue, names.audit(TOPIC), Record(key="forebay-move", value=b"{}", timestamp_ms=1))

    assert await found(queue) == []


async def test_a_queue_that_is_moved_into_again_is_in_use_again_and_all_that_waits_there_can_be_moved(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, a_record(A, 1), a_record(A, 2))
    await carried(a_move(queue, target, GIVEN))
    commit(target, "forebay", A, 2, [])
    await put(target, TOPIC, a_record(A, 3))
    # Whoever makes the topic anew need not think of the others.
    queue.logs[TOPIC] = [[] for _ in range(4)]
    await carried(a_move(target, queue, GIVEN))
    is_told = await found(queue)
    commit(target, "forebay", A, 3, [])
    again = await carried(a_move(queue, target, GIVEN))

    assert values(queue, A) == [3]
    assert is_told == []
    assert again == 1
    assert values(target, A) == [1, 2, 3, 3]


async def test_who_runs_on_is_told_when_it_is_moved_and_no_more_when_it_is_moved_into_again(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    watch, states = MoveWatch(queue, TOPIC), []
    with capture_logs() as logs:
        for moves in ([], [(queue, target)], [], [(target, queue)]):
            for source, into in moves:
                into.logs[TOPIC] = [[] for _ in range(4)]
                await put(source, TOPIC, a_record(A, 1))
                await carried(a_move(source, into, GIVEN))
            await watch.look()
            states.append(watch.state.partition(" (by ")[0])

    assert states == ["", *["what waited here was moved to memory://new"] * 2, ""]
    assert [line["event"] for line in logs] == ["this queue is not in use any more"]


async def test_a_queue_that_was_taken_back_is_in_use_again_though_nothing_waits_in_the_other(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, a_record(A, 1))
    await carried(a_move(queue, target, GIVEN))
    commit(target, "forebay", A, 1, [])
    back = a_move(target, queue, GIVEN)

    with pytest.raises(NotNow, match="would handle that a second time"):
        await carried(back)
    [still] = await found(queue)
    # Its own workers went on with it.
    commit(queue, "forebay", A, 1, [])
    moved = await carried(back)

    assert still.state == "fail"
    assert (moved, await found(queue)) == (0, [])
    assert [finding.state for finding in await found(target)] == ["fail"]
    assert (await back.plan()).is_empty


async def test_where_a_move_has_nothing_new_the_queue_that_it_went_to_stays_moved(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, a_record(A, 1))
    await carried(a_move(queue, target, GIVEN))
    third = MemoryQueue()
    await carried(a_move(target, third, GIVEN, name="memory://third"))

    assert await carried(a_move(queue, target, GIVEN)) == 0
    assert [finding.state for finding in await found(target)] == ["fail"]
