"""What a move takes along, and as what."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import pytest

from forebay.console.moving.errors import NotNow
from forebay.console.moving.lacking import What
from forebay.console.planning import Planned
from forebay.processors.notes import Place
from forebay.processors.parking import entries
from forebay.processors.parking.orders import What as Ordered
from forebay.processors.parking.state import PortalState, Replaying
from forebay.queues.contract import Record
from forebay.queues.memory import MemoryQueue
from forebay.schemas import names
from forebay.schemas.portal import partition_of
from tests.moving.records import GIVEN, TOPIC, A, B, a_record, commit, put, there, values
from tests.moving.sides import a_move, carried

from .by_hand import order_writer


async def test_what_a_group_has_finished_stays_and_the_rest_goes_as_it_is(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(8)))
    commit(queue, "forebay", A, 2, [(3, 5), (6, 7)])

    sent = await carried(a_move(queue, target, GIVEN, partitions=7))

    assert sent == 3
    assert values(target, A) == [2, 5, 7]
    (first, *_) = there(target)
    assert (first.timestamp_ms, first.headers, first.partition) == (2, (("h", b"x"),), partition_of(A, 7))


async def test_more_partitions_keep_the_order_of_each_portal(queue: MemoryQueue, target: MemoryQueue) -> None:
    portals = [f"{number}.example" for number in range(40)]
    for number in range(30):
        await put(queue, TOPIC, *(a_record(portal, number) for portal in portals))

    await carried(a_move(queue, target, GIVEN, partitions=11))

    assert all(values(target, portal) == list(range(30)) for portal in portals)


async def test_open_letters_go_to_their_streams_and_what_was_dealt_with_stays(
    queue: MemoryQueue, target: MemoryQueue, dead_record: Callable[..., Record], event: Callable[..., object]
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(10)))
    commit(queue, "forebay", A, 10, [])
    here = partition_of(A, 4)
    place = ((names.DEAD_PARTITION, b"%d" % here), (names.DEAD_OFFSET, b"7"))
    open_one, dealt_with = (dead_record(event(number, portal=A)) for number in (1, 2))
    open_one = replace(open_one, headers=(*open_one.headers, *place))
    placed = await put(queue, names.dead(TOPIC), dealt_with, open_one)
    await put(queue, names.quarantine(TOPIC), a_record(B, 1))
    named = Planned(portal=A, partition=here, group="forebay", stream=names.dead(TOPIC))
    named.add(placed[0].offset, 0)
    await order_writer(queue).put_all(named, Ordered.DISCARD)

    await carried(a_move(queue, target, GIVEN))

    assert there(target) == []
    (letter,) = there(target, names.dead(TOPIC))
    (call,) = there(target, names.quarantine(TOPIC))
    moved = dict(letter.headers)
    # Three before the end of the old topic: no event of the new one stands there.
    assert moved.pop(names.DEAD_OFFSET) == b"-3"
    assert moved == {name: value for name, value in open_one.headers if name != names.DEAD_OFFSET}
    assert (letter.value, call.value) == (open_one.value, a_record(B, 1).value)


async def test_a_quarantined_call_that_was_read_again_stays_and_no_worker_is_waited_for(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    (read_again, _) = await put(queue, names.quarantine(TOPIC), a_record(A, 1), a_record(A, 2))
    named = Planned(portal=A, partition=partition_of(A, 4), group="", stream=names.quarantine(TOPIC))
    named.add(read_again.offset, 0)
    await order_writer(queue).put_all(named, Ordered.REPLAY)

    await carried(a_move(queue, target, GIVEN))

    assert [call.value for call in there(target, names.quarantine(TOPIC))] == [a_record(A, 2).value]


async def test_a_replay_that_is_under_way_goes_ahead_of_what_is_parked_and_of_what_is_behind(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(6)))
    named = Planned(portal=A, partition=partition_of(A, 4), group="forebay", stream=TOPIC)
    for offset in (0, 1, 2):
        named.add(offset, offset)
    (order,) = await order_writer(queue).put_all(named, Ordered.REPLAY)
    spilled = entries.spill(there(queue)[4], ("forebay", 1), -1, 5)
    state = PortalState(
        records=1, next=0, last=4, replays=[Replaying(order=order.offset, done=1)], orders=order.offset + 1
    )
    told = entries.statement(A, state, ("forebay", 1), 5)
    await put(queue, names.parked(TOPIC), spilled, told)
    commit(queue, "forebay", A, 5, [])

    plan = await a_move(queue, target, GIVEN).plan()
    await carried(a_move(queue, target, GIVEN))

    assert values(target, A) == [1, 2, 4, 5]
    assert {what: amount.records for what, amount in plan.amounts.items()} == {
        What.REPLAYED: 2,
        What.PARKED: 1,
        What.EVENTS: 1,
    }
    assert {name for one in there(target) for name, _ in one.headers} == {"h"}


def replay_of(portal: str, *offsets: int) -> Planned:
    named = Planned(portal=portal, partition=partition_of(portal, 4), group="forebay", stream=TOPIC)
    for offset in offsets:
        named.add(offset, offset)
    return named


async def test_a_replay_that_no_worker_has_begun_goes_ahead_as_a_worker_would_begin_it(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(6)))
    writer = order_writer(queue)
    (begun,) = await writer.put_all(replay_of(A, 0, 1), Ordered.REPLAY)
    state = PortalState(replays=[Replaying(order=begun.offset, done=1)], orders=begun.offset + 1)
    await put(queue, names.parked(TOPIC), entries.statement(A, state, ("forebay", 1), 5))
    await writer.put_all(replay_of(A, 3, 4), Ordered.REPLAY)
    commit(queue, "forebay", A, 5, [])

    plan = await a_move(queue, target, GIVEN).plan()
    sent = await carried(a_move(queue, target, GIVEN))
    again = await carried(a_move(queue, target, GIVEN))

    assert values(target, A) == [1, 3, 4, 5]
    assert (plan.amounts[What.REPLAYED].records, sent, again) == (3, 4, 0)


@pytest.mark.parametrize(
    ("orders", "is_refused"),
    [
        ([Ordered.REPLAY, Ordered.DISCARD], True),
        # Nothing waits yet that it could give up.
        ([Ordered.DISCARD, Ordered.REPLAY], False),
    ],
)
async def test_a_discard_of_what_was_ordered_again_is_for_a_worker(
    queue: MemoryQueue, target: MemoryQueue, orders: list[Ordered], *, is_refused: bool
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(3)))
    commit(queue, "forebay", A, 3, [])
    for what in orders:
        if what is Ordered.REPLAY:
            await order_writer(queue).put_all(replay_of(A, 0, 1), what)
        else:
            await order_writer(queue).put(A, what, "forebay", partition_of(A, 4))

    refused = pytest.raises(NotNow, match="of 1 portals wait for a worker of group forebay")
    with refused if is_refused else nullcontext():
        await carried(a_move(queue, target, GIVEN))

    assert values(target, A) == ([] if is_refused else [0, 1])


async def test_a_portal_that_is_held_is_held_there_too(queue: MemoryQueue, target: MemoryQueue) -> None:
    await put(queue, names.parked(TOPIC), entries.statement(A, PortalState(is_held=True), ("forebay", 1), 1))

    await carried(a_move(queue, target, GIVEN))

    (order,) = there(target, names.audit(TOPIC))
    assert order.key == A
    assert b'"what":"hold"' in order.value


async def test_what_was_parked_and_is_done_stays_also_when_nobody_could_commit_it_any_more(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(6)))
    spilled = [
        entries.spill(there(queue)[number], ("forebay", 1), number - 1 if number > 2 else -1, 5) for number in (2, 3)
    ]
    told = entries.statement(A, PortalState(last=3), ("forebay", 1), 5)
    claimed = entries.claim(A, ("forebay", 2), 0, 5)
    await put(queue, names.parked(TOPIC), *spilled, told, claimed)
    commit(queue, "forebay", A, 2, [], Place(generation=2, in_force=1))

    await carried(a_move(queue, target, GIVEN))

    assert values(target, A) == [4, 5]
