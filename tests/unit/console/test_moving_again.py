"""A move that ends early, and one that is run again."""

import asyncio
from dataclasses import replace

import pytest

from forebay.console.moving.errors import CantMove, NotNow
from forebay.console.stopping import Stop
from forebay.queues.contract import Position, Producer, Record
from forebay.queues.errors import QueueUnavailable, RecordRefused
from forebay.queues.memory import MemoryProducer, MemoryQueue
from forebay.schemas import names
from forebay.schemas.portal import partition_of
from tests.moving.listening import ListeningQueue, put_now
from tests.moving.records import GIVEN, TOPIC, A, B, a_record, commit, put, there, values
from tests.moving.sides import BreakingQueue, a_move, carried


async def test_run_again_after_its_end_it_moves_nothing_even_when_the_target_was_emptied(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, a_record(A, 1))
    await carried(a_move(queue, target, GIVEN))
    target.logs[TOPIC] = [[] for _ in range(4)]

    sent = await carried(a_move(queue, target, GIVEN))
    with pytest.raises(CantMove, match="was moved to memory://new"):
        await carried(a_move(queue, BreakingQueue(), GIVEN, name="memory://third"))
    again = await carried(a_move(queue, target, GIVEN, again=True))

    assert (sent, again) == (0, 1)


async def test_it_remembers_for_which_of_several_groups_it_was(queue: MemoryQueue, target: MemoryQueue) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(5)))
    commit(queue, "forebay", A, 2, [])
    commit(queue, "audit", A, 4, [])
    await carried(a_move(queue, target, GIVEN, group="audit"))

    again = await carried(a_move(queue, target, GIVEN))
    with pytest.raises(CantMove, match="was moved to memory://new, for group audit"):
        await carried(a_move(queue, target, GIVEN, group="forebay"))

    assert (again, values(target, A)) == (0, [4])


async def test_what_came_into_the_source_after_its_end_is_moved_alone(queue: MemoryQueue, target: MemoryQueue) -> None:
    await put(queue, TOPIC, a_record(A, 1), a_record(B, 1))
    await put(queue, names.dead(TOPIC), a_record(A, 5))
    await carried(a_move(queue, target, GIVEN))
    for portal in (A, B):
        commit(target, "forebay", portal, 1 + (partition_of(A, 4) == partition_of(B, 4)), [])
    await put(queue, TOPIC, a_record(A, 2))

    sent = await carried(a_move(queue, target, GIVEN))

    assert sent == 1
    assert (values(target, A), values(target, B)) == ([1, 2], [1])
    assert len(there(target, names.dead(TOPIC))) == 1


async def test_it_is_not_gone_on_with_when_something_else_wrote_into_the_target(
    queue: MemoryQueue, target: BreakingQueue
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(4)))
    target.takes = 2
    with pytest.raises(QueueUnavailable):
        await carried(a_move(queue, target, GIVEN))
    target.takes = None
    await put(target, TOPIC, a_record(A, 99))

    with pytest.raises(CantMove, match="has 1 records since the move began that don't wait in memory://old"):
        await carried(a_move(queue, target, GIVEN))


async def test_what_comes_into_the_target_after_it_was_read_is_seen(queue: MemoryQueue, target: BreakingQueue) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(4)))
    target.takes = 2
    with pytest.raises(QueueUnavailable):
        await carried(a_move(queue, target, GIVEN))
    target.takes = None
    move = a_move(queue, target, GIVEN)
    plan = await move.plan()
    # Of which the first run could not know whether it was kept.
    await put(target, TOPIC, a_record(A, 2))

    with pytest.raises(NotNow, match=r"memory://new is written to \(1 in partition"):
        await move.carry_out(plan, Stop(), lambda count: None)
    sent = await carried(a_move(queue, target, GIVEN))

    assert sent == 1
    assert values(target, A) == [0, 1, 2, 3]


@pytest.mark.parametrize("lost", ["the first record", "all of it"])
async def test_it_is_not_gone_on_with_when_the_target_can_not_tell_any_more_what_it_had(
    queue: MemoryQueue, target: BreakingQueue, lost: str
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(4)))
    await target.ensure(names.streams(TOPIC), 4)
    await put(target, TOPIC, a_record(A, 77))
    commit(target, "forebay", A, 1, [])
    target.takes = 2
    with pytest.raises(QueueUnavailable):
        await carried(a_move(queue, target, GIVEN))
    target.takes = None
    log = target.logs[TOPIC][partition_of(A, 4)]
    del log[: 2 if lost == "the first record" else len(log)]

    with pytest.raises(CantMove, match="has lost records since the move began"):
        await carried(a_move(queue, target, GIVEN))


class _MeetingQueue(MemoryQueue):
    """Who writes into it waits for as many others as are said to come."""

    def __init__(self) -> None:
        super().__init__()
        self.coming, self.all = 0, asyncio.Event()

    def producer(self) -> Producer:
        return _MeetingProducer(self)


class _MeetingProducer(MemoryProducer):
    def __init__(self, queue: _MeetingQueue) -> None:
        super().__init__(queue)
        self._meeting = queue

    async def send(self, stream: str, record: Record) -> Position:
        if self._meeting.coming:
            self._meeting.coming -= 1
            if not self._meeting.coming:
                self._meeting.all.set()
            await self._meeting.all.wait()
        return await super().send(stream, record)


@pytest.mark.parametrize("is_begun", [False, True])
async def test_of_two_moves_that_begin_at_once_one_goes_on(target: BreakingQueue, *, is_begun: bool) -> None:
    queue = _MeetingQueue()
    await queue.ensure(names.streams(TOPIC), 4)
    await put(queue, TOPIC, *(a_record(A, number) for number in range(6)))
    if is_begun:
        target.takes = 2
        with pytest.raises(QueueUnavailable):
            await carried(a_move(queue, target, GIVEN))
        target.takes = None
    moves = [a_move(queue, target, GIVEN) for _ in range(2)]
    plans = [await move.plan() for move in moves]

    # Both have watched, and neither has seen anything of the other.
    queue.coming = 2
    results = await asyncio.gather(
        *(move.carry_out(plan, Stop(), lambda count: None) for move, plan in zip(moves, plans, strict=True)),
        return_exceptions=True,
    )

    assert [result for result in results if result is None] == [None]
    assert [str(result) for result in results if isinstance(result, CantMove)] == [
        "another move from memory://old has begun in this moment: let it come to its end"
    ]
    assert values(target, A) == list(range(6))


async def test_what_comes_into_the_source_meanwhile_is_told_and_moved_by_the_next_run(queue: MemoryQueue) -> None:
    await put(queue, TOPIC, a_record(A, 1), a_record(A, 2))

    def before(record: Record) -> None:
        if record.value.endswith(b"2"):
            put_now(queue, TOPIC, a_record(A, 3))

    target = ListeningQueue(before)
    with pytest.raises(CantMove, match="memory://old was written to meanwhile"):
        await carried(a_move(queue, target, GIVEN))
    sent = await carried(a_move(queue, target, GIVEN))

    assert sent == 1
    assert values(target, A) == [1, 2, 3]


async def test_a_record_that_is_refused_leaves_no_gap_before_what_was_sent(queue: MemoryQueue) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(6)))

    def before(record: Record) -> None:
        if record.value.endswith(b" 3"):
            raise RecordRefused("it is too large")

    target = ListeningQueue(before)
    with pytest.raises(RecordRefused, match=r"an event of a\.example, 11 bytes: it is too large"):
        await carried(a_move(queue, target, GIVEN))

    assert values(target, A) == [0, 1, 2]


async def test_it_stops_between_two_events_when_it_is_told_to_and_goes_on(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(6)))
    stop, move = Stop(), a_move(queue, target, GIVEN)

    def sent(count: int) -> None:
        if len(there(target)) == 2:
            stop.ask()

    await move.carry_out(await move.plan(), stop, sent)
    first = values(target, A)
    plan = await move.plan()
    await carried(move)

    assert first == [0, 1]
    assert (plan.records, plan.there) == (6, 2)
    assert values(target, A) == list(range(6))


async def test_a_stop_while_it_watches_leaves_both_queues_as_they_were(queue: MemoryQueue, target: MemoryQueue) -> None:
    await put(queue, TOPIC, a_record(A, 1))
    stop, move = Stop(), replace(a_move(queue, target, GIVEN), sleep=None)
    stop.ask()

    await move.carry_out(await move.plan(), stop, lambda count: None)

    assert there(target) == there(queue, names.audit(TOPIC)) == []
