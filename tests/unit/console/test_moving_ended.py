"""A move is done when the target has what was planned, and not before."""

import asyncio
from dataclasses import replace

import pytest

from forebay.console.moving.choosing import ALL
from forebay.console.moving.errors import CantMove
from forebay.console.moving.telling import told_after
from forebay.console.stopping import Stop
from forebay.queues.contract import Position, Producer, Record
from forebay.queues.memory import MemoryProducer, MemoryQueue
from forebay.schemas import names
from forebay.schemas.portal import partition_of
from tests.moving.listening import ListeningQueue, put_now
from tests.moving.records import GIVEN, TOPIC, A, a_record, commit, put, there, values
from tests.moving.sides import BreakingQueue, a_move, carried
from tests.unit.console.test_moving_groups import park


class _BlindQueue(BreakingQueue):
    """Can't show what it has."""

    promises = replace(BreakingQueue.promises, replay=False)


async def test_it_is_not_done_when_something_else_wrote_into_the_target_meanwhile(queue: MemoryQueue) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(4)))

    def before(record: Record) -> None:
        if record.value.endswith(b" 2"):
            put_now(target, TOPIC, a_record(A, 99))

    target = ListeningQueue(before)
    with pytest.raises(CantMove, match="memory://new has 5 records of this move, and 4 were planned"):
        await carried(a_move(queue, target, GIVEN))
    with pytest.raises(CantMove, match="has 1 records since the move began that don't wait"):
        await carried(a_move(queue, target, GIVEN))


@pytest.mark.parametrize("kind", [BreakingQueue, _BlindQueue])
async def test_it_is_not_done_when_retention_took_what_was_planned(
    queue: MemoryQueue, kind: type[BreakingQueue]
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(4)))
    target, counts = kind(), list[int]()
    move = a_move(queue, target, GIVEN)
    plan = await move.plan()
    del queue.logs[TOPIC][partition_of(A, 4)][:2]

    with pytest.raises(CantMove, match="memory://new has 2 records of this move, and 4 were planned"):
        await move.carry_out(plan, Stop(), counts.append)

    assert sum(counts) == 2
    assert list(told_after(move, plan, 2, is_done=False, goes_on=False)) == ["2 records moved", "2 records not moved"]


async def test_into_a_queue_that_can_not_show_what_it_has_it_comes_to_its_end(queue: MemoryQueue) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(4)))
    target = _BlindQueue()

    first = await carried(a_move(queue, target, GIVEN))
    again = await carried(a_move(queue, target, GIVEN))

    assert (first, again) == (4, 0)


class _Halting(MemoryProducer):
    """The first that sends the third event waits in between."""

    def __init__(self, queue: "_HaltingQueue") -> None:
        super().__init__(queue)
        self._halting = queue

    async def send(self, stream: str, record: Record) -> Position:
        if record.value.endswith(b" 2") and not self._halting.halts.is_set():
            self._halting.halts.set()
            await self._halting.gate.wait()
        return await super().send(stream, record)


class _HaltingQueue(MemoryQueue):
    def __init__(self) -> None:
        super().__init__()
        self.halts, self.gate = asyncio.Event(), asyncio.Event()

    def producer(self) -> Producer:
        return _Halting(self)


async def test_a_move_during_which_another_ran_is_not_done(queue: MemoryQueue) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(5)))
    target = _HaltingQueue()
    first = asyncio.create_task(carried(a_move(queue, target, GIVEN)))
    await target.halts.wait()

    second = await carried(a_move(queue, target, GIVEN))
    target.gate.set()

    assert second == 3
    with pytest.raises(CantMove, match="has 8 records of this move, and 5 were planned"):
        await first


async def test_a_move_during_which_workers_went_on_with_the_source_is_not_done(queue: MemoryQueue) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(4)))

    def before(record: Record) -> None:
        if record.value.endswith(b" 1"):
            # One that came, finished all, and left.
            commit(queue, "forebay", A, 4, [])

    target = ListeningQueue(before)
    told = f"workers of group forebay went on with memory://old meanwhile, in partitions {partition_of(A, 4)}"
    with pytest.raises(CantMove, match=rf"{told}\nwhat they finished was moved too"):
        await carried(a_move(queue, target, GIVEN))
    with pytest.raises(CantMove, match="has 4 records since the move began that don't wait"):
        await carried(a_move(queue, target, GIVEN))
    await target.ensure(names.streams(TOPIC), 4)
    target.logs[TOPIC] = [[] for _ in range(4)]

    assert await carried(a_move(queue, target, GIVEN, again=True)) == 0


async def test_what_is_parked_is_moved_for_all_when_retention_takes_it_from_the_topic_meanwhile(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(6)))
    await park(queue, "audit", A, 2, 4)
    commit(queue, "audit", A, 6, [])
    commit(queue, "forebay", A, 5, [])
    move = a_move(queue, target, GIVEN, group=ALL)
    plan = await move.plan()
    log = queue.logs[TOPIC][partition_of(A, 4)]
    log[:] = [record for record in log if record.offset not in (0, 1, 2, 4)]

    await move.carry_out(plan, Stop(), lambda count: None)

    assert values(target, A) == [2, 4, 5]


async def test_a_call_that_is_quarantined_meanwhile_is_moved_by_the_next_run(target: MemoryQueue) -> None:
    quarantine, late = names.quarantine(TOPIC), [a_record(A, 2)]

    def before(record: Record) -> None:
        # The move is about to begin: it has watched, and has not read the calls yet.
        if b'"what":"move"' in record.value and late:
            put_now(source, quarantine, late.pop())

    source = ListeningQueue(before)
    await source.ensure(names.streams(TOPIC), 4)
    await put(source, quarantine, a_record(A, 1))

    with pytest.raises(CantMove, match="memory://old was written to meanwhile"):
        await carried(a_move(source, target, GIVEN))
    sent = await carried(a_move(source, target, GIVEN))

    assert sent == 1
    assert [one.value for one in there(target, quarantine)] == [a_record(A, 1).value, a_record(A, 2).value]


async def test_what_is_all_there_and_not_written_down_as_done_is_not_told_as_moved_alone(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(4)))
    move, stop, counts = a_move(queue, target, GIVEN), Stop(), list[int]()
    plan = await move.plan()

    def sent(count: int) -> None:
        counts.append(count)
        if len(counts) == plan.records:
            stop.ask()

    await move.carry_out(plan, stop, sent)

    told = list(told_after(move, plan, sum(counts), is_done=False, goes_on=True))
    assert told == ["4 records moved", "it is not written down that the move is done: run the same again"]
