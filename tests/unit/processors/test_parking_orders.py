"""An order is obeyed once, whenever the worker that obeys it dies."""

import asyncio
from typing import Any, cast

import orjson
import pytest
from structlog.testing import capture_logs

from forebay.processors.held import Held
from forebay.processors.notes import Note, Place
from forebay.processors.parking import entries
from forebay.processors.parking.opening import Opened, opened
from forebay.processors.parking.orders import Order, What, written
from forebay.processors.parking.portal import ParkedPortal
from forebay.processors.parking.restored import replays_of
from forebay.processors.parking.state import PortalState, Replaying
from forebay.processors.parking.stream import ParkedStream
from forebay.processors.parking.writing import Writing
from forebay.processors.partitions import Partition
from forebay.queues.contract import Record
from forebay.queues.memory import MemoryQueue
from forebay.schemas import names

TOPIC, GROUP = "events", "shop"
A, B = "a.example", "b.example"


@pytest.fixture
async def queue() -> MemoryQueue:
    queue = MemoryQueue()
    await queue.ensure(names.streams(TOPIC), 1)
    return queue


def stream(queue: MemoryQueue) -> ParkedStream:
    return ParkedStream(queue.producer(), queue.inspector(), TOPIC, GROUP, now=lambda: 1.0)


async def order(queue: MemoryQueue, portal: str, what: What = What.HOLD, group: str = GROUP) -> int:
    made = Order(portal=portal, what=what, stream=names.parked(TOPIC), group=group, who="", why="", at_ms=0)
    return (await queue.producer().send(names.audit(TOPIC), written(made))).offset


async def tell(queue: MemoryQueue, portal: str, **state: Any) -> None:
    await stream(queue).write(entries.statement(portal, PortalState(**state), (GROUP, 1), 1))


async def begun(queue: MemoryQueue, place: Place) -> Opened:
    async def commit(generation: int) -> None:
        """Nobody else is there."""

    return await opened(stream(queue), 0, place, commit)


async def test_an_order_is_not_passed_over_since_another_portal_knows_a_later_one(queue: MemoryQueue) -> None:
    await order(queue, A)
    later = await order(queue, B)
    await tell(queue, B, is_held=True, orders=later + 1)

    found = await begun(queue, Place(generation=1))

    assert [one.portal for one in found.orders] == [A]
    assert found.next_order == 2


async def test_an_order_that_is_done_is_not_obeyed_again(queue: MemoryQueue) -> None:
    given = await order(queue, A, What.RESUME)
    await tell(queue, A, records=1, last=3)
    await tell(queue, A, orders=given + 1)

    found = await begun(queue, Place(generation=1))

    assert found.orders == []
    assert found.ledger.portals == {}


async def test_nor_where_its_portal_waits_anew_and_knows_of_no_order(queue: MemoryQueue) -> None:
    given = await order(queue, A, What.RESUME)
    await tell(queue, A, orders=given + 1)
    await tell(queue, A, records=1, last=3)

    found = await begun(queue, Place(generation=1))

    assert found.orders == []
    assert list(found.ledger.portals) == [A]


async def test_without_a_note_the_claims_tell_which_orders_were_obeyed(queue: MemoryQueue) -> None:
    given = await order(queue, A)
    await stream(queue).claim(0, 1, given + 1)
    await order(queue, B)

    found = await begun(queue, Place())

    assert [one.portal for one in found.orders] == [B]


async def test_orders_about_another_group_and_what_is_no_order_are_passed_over(queue: MemoryQueue) -> None:
    await order(queue, A)
    await queue.producer().send(names.audit(TOPIC), Record(key=A, value=b"noise", timestamp_ms=0))
    await order(queue, A, group="other")
    given = await order(queue, B)

    found = await stream(queue).orders(0, 1, 9)

    assert [(one.portal, one.offset) for one in found] == [(B, given)]


async def test_an_order_that_is_gone_is_no_other(queue: MemoryQueue) -> None:
    first, gone, last = [await order(queue, portal) for portal in (A, B, A)]
    del queue.logs[names.audit(TOPIC)][0][gone]

    found = [await stream(queue).order(0, offset) for offset in (first, gone, last, last + 1)]

    assert [one and one.offset for one in found] == [first, None, last, None]


async def test_a_replay_whose_order_is_gone_keeps_nobody_from_beginning(queue: MemoryQueue) -> None:
    await tell(queue, A, replays=[Replaying(order=3, at_ms=5)])

    found = await begun(queue, Place(generation=1))

    assert (found.replays, list(found.ledger.portals)) == ({}, [A])


@pytest.mark.parametrize(
    ("told_at_ms", "portal", "is_it"),
    [
        (5, A, True),
        # As versions before told it.
        (0, A, True),
        (6, A, False),
        (5, B, False),
    ],
)
def test_a_replay_is_gone_on_with_by_the_order_that_began_it_and_no_other(
    told_at_ms: int, portal: str, is_it: bool
) -> None:
    order = Order(
        portal=A, what=What.REPLAY, stream=TOPIC, group=GROUP, who="", why="", at_ms=5, spans=((2, 4),), offset=3
    )
    told = [Replaying(order=3, done=1, at_ms=told_at_ms)]

    with capture_logs() as logs:
        found = list(replays_of(portal, told, {3: order}, TOPIC))

    assert [(one.done, list(one.offsets)) for one in found] == [(1, [2, 3])] * is_it
    # That of another order says nothing.
    assert [one["stream"] for one in logs] == [None] * (not is_it)


def test_where_the_topic_is_a_copy_it_is_told_which_stream_a_replay_is_of() -> None:
    order = Order(portal=A, what=What.REPLAY, stream="first", group=GROUP, who="", why="", at_ms=5, offset=3)

    with capture_logs() as logs:
        found = list(replays_of(A, [Replaying(order=3, at_ms=5)], {3: order}, TOPIC))

    assert (found, [one["stream"] for one in logs]) == ([], ["first"])


def test_who_reads_an_order_sees_how_many_records_it_is_about() -> None:
    made = Order(portal=A, what=What.REPLAY, stream=TOPIC, group=GROUP, who="", why="", at_ms=0, spans=((3, 5), (7, 8)))

    assert orjson.loads(written(made).value)["count"] == len(made.offsets()) == 3


class Slow:
    """A parked stream that keeps nothing before it is told to."""

    group = GROUP

    def __init__(self) -> None:
        self.kept: list[asyncio.Future[int]] = []

    def now_ms(self) -> int:
        return 1

    async def write(self, record: Record) -> int:
        self.kept.append(asyncio.get_running_loop().create_future())
        return await self.kept[-1]


def writing_into(slow: Slow) -> Writing:
    return Writing(
        Partition(0, 0, Note()), cast(ParkedStream, slow), Held(10, 10), lambda portal: None, lambda position: None, 1
    )


async def test_a_commit_says_that_an_order_was_obeyed_only_when_that_is_kept() -> None:
    slow, portal = Slow(), ParkedPortal(A, PortalState(is_held=True, orders=8))
    portal.is_dirty, portal.order = True, 7

    writing_into(slow).begin(portal)
    await asyncio.sleep(0)
    on_its_way = portal.order
    slow.kept[0].set_result(0)
    while portal.writer is not None:
        await asyncio.sleep(0)

    assert on_its_way == 7
    assert portal.order is None


async def test_an_order_that_comes_while_another_is_written_down_is_not_forgotten() -> None:
    slow, portal = Slow(), ParkedPortal(A, PortalState(is_held=True, orders=8))
    portal.is_dirty, portal.order = True, 7

    writing_into(slow).begin(portal)
    await asyncio.sleep(0)
    portal.state.orders, portal.is_dirty = 12, True
    slow.kept[0].set_result(0)
    while len(slow.kept) < 2:
        await asyncio.sleep(0)
    between = portal.order
    slow.kept[1].set_result(1)
    while portal.writer is not None:
        await asyncio.sleep(0)

    assert between == 7
    assert portal.order is None
