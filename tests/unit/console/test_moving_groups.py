"""Several groups at different places, moved together."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.console.moving.choosing import ALL
from forebay.console.moving.errors import CantMove, NotNow
from forebay.console.moving.telling import told_before
from forebay.console.planning import Planned
from forebay.processors.parking import entries
from forebay.processors.parking.orders import What as Ordered
from forebay.processors.parking.state import PortalState
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryQueue
from forebay.schemas import names
from forebay.schemas.portal import partition_of
from tests.moving.records import GIVEN, TOPIC, A, B, a_record, commit, put, there, values
from tests.moving.sides import BreakingQueue, a_move, carried

from .by_hand import order_writer

RECORDS = 12


async def park(queue: MemoryQueue, group: str, portal: str, *offsets: int, is_held: bool = False) -> None:
    """Let records of the portal wait in the parked stream, for the group."""
    after, first = -1, len(queue.logs[names.parked(TOPIC)][partition_of(portal, 4)])
    for offset in offsets:
        [record] = [one for one in there(queue) if one.key == portal and one.offset == offset]
        await put(queue, names.parked(TOPIC), entries.spill(record, (group, 1), after, 5))
        after = offset
    state = PortalState(records=len(offsets), next=first, last=after, is_held=is_held)
    await put(queue, names.parked(TOPIC), entries.statement(portal, state, (group, 1), 5))


async def test_all_groups_get_what_any_of_them_lacks_in_the_order_of_the_topic(
    queue: MemoryQueue, target: BreakingQueue
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(RECORDS)))
    await park(queue, "audit", A, 2, 7, is_held=True)
    await park(queue, "shop", A, 5)
    commit(queue, "audit", A, 9, [])
    commit(queue, "shop", A, 8, [(10, 12)])
    # What retention has taken from the topic is parked all the same.
    del queue.logs[TOPIC][partition_of(A, 4)][:8]

    move = a_move(queue, target, GIVEN, group=ALL)
    plan = await move.plan()
    await carried(move)

    assert values(target, A) == [2, 5, 7, 8, 9, 10, 11]
    assert list(told_before(move, plan))[:3] == [
        "from memory://old to memory://new: what groups audit, shop lack",
        "group audit gets 2 events again, which it has finished",
        "group shop gets 4 events again, which it has finished",
    ]
    (order,) = there(target, names.audit(TOPIC))
    assert b'"group":"audit"' in order.value
    assert await carried(move) == 0


async def test_a_move_of_all_that_broke_goes_on_as_one_of_all(queue: MemoryQueue, target: BreakingQueue) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(6)), a_record(B, 1))
    commit(queue, "audit", A, 3, [])
    commit(queue, "shop", A, 1, [])
    target.takes = 3
    with pytest.raises(QueueUnavailable):
        await carried(a_move(queue, target, GIVEN, group=ALL))
    target.takes = None

    await carried(a_move(queue, target, GIVEN))

    assert (values(target, A), values(target, B)) == ([1, 2, 3, 4, 5], [1])


offsets = st.integers(0, RECORDS)
runs = st.lists(offsets, max_size=4, unique=True).map(sorted)


@given(places=st.lists(st.tuples(offsets, runs), min_size=1, max_size=3))
@settings(max_examples=100)
async def test_what_is_moved_for_all_is_what_any_lacks(places: list[tuple[int, list[int]]]) -> None:
    queue, target, lacked = MemoryQueue(), BreakingQueue(), set[int]()
    await queue.ensure(names.streams(TOPIC), 4)
    await put(queue, TOPIC, *(a_record(A, number) for number in range(RECORDS)))
    for number, (offset, ends) in enumerate(places):
        done = [(first, last) for first, last in zip(ends[::2], ends[1::2], strict=False) if first > offset]
        commit(queue, f"group{number}", A, offset, done)
        finished = {one for first, last in done for one in range(first, last)}
        lacked |= set(range(offset, RECORDS)) - finished

    await carried(a_move(queue, target, GIVEN, group=ALL))

    assert values(target, A) == sorted(lacked)


async def test_a_portal_that_another_group_holds_is_held_there_too(queue: MemoryQueue, target: MemoryQueue) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(3)))
    commit(queue, "forebay", A, 0, [])
    await park(queue, "audit", A, 0, 1, 2, is_held=True)
    commit(queue, "audit", A, 3, [])

    # Both lack the same, so no group has to be named.
    await carried(a_move(queue, target, GIVEN))

    (order,) = there(target, names.audit(TOPIC))
    assert order.key == A
    assert b'"what":"hold"' in order.value
    assert b'"group":"audit"' in order.value
    assert values(target, A) == [0, 1, 2]


@pytest.mark.parametrize(
    ("orders", "is_held"),
    [
        ([Ordered.HOLD], True),
        ([Ordered.HOLD, Ordered.RESUME], False),
        ([Ordered.RESUME, Ordered.HOLD], True),
    ],
)
async def test_what_was_ordered_for_a_group_that_never_runs_is_as_it_would_be_there_too(
    queue: MemoryQueue, target: MemoryQueue, orders: list[Ordered], is_held: bool
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(3)))
    commit(queue, "forebay", A, 2, [])
    for what in orders:
        await order_writer(queue).put(A, what, "forebya", partition_of(A, 4))

    await carried(a_move(queue, target, GIVEN, group="forebay"))

    held = [order for order in there(target, names.audit(TOPIC)) if b'"what":"hold"' in order.value]
    assert [(order.key, b'"group":"forebya"' in order.value) for order in held] == [(A, True)] * is_held
    assert values(target, A) == [2]


async def test_a_portal_that_is_held_and_was_resumed_is_not_held_there(queue: MemoryQueue, target: MemoryQueue) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(3)))
    await park(queue, "forebay", A, 0, 1, 2, is_held=True)
    commit(queue, "forebay", A, 3, [])
    await order_writer(queue).put(A, Ordered.RESUME, "forebay", partition_of(A, 4))

    await carried(a_move(queue, target, GIVEN))

    assert there(target, names.audit(TOPIC)) == []
    assert values(target, A) == [0, 1, 2]


@pytest.mark.parametrize(
    ("group", "text"),
    [
        (None, r"audit: 1 not finished\n  - forebay: 0 not finished"),
        ("forebay", r"of 1 portals wait for a worker of group audit \(a\.example\)"),
    ],
)
async def test_a_replay_that_no_worker_of_another_group_has_begun_is_refused_until_its_group_is_named(
    queue: MemoryQueue, target: MemoryQueue, group: str | None, text: str
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(3)))
    for name in ("forebay", "audit"):
        commit(queue, name, A, 3, [])
    named = Planned(portal=A, partition=partition_of(A, 4), group="audit", stream=TOPIC)
    named.add(1, 1)
    await order_writer(queue).put_all(named, Ordered.REPLAY)

    with pytest.raises((NotNow, CantMove), match=text):
        await carried(a_move(queue, target, GIVEN, group=group))
    before = there(target)
    await carried(a_move(queue, target, GIVEN, group="audit"))

    assert before == []
    assert values(target, A) == [1]
