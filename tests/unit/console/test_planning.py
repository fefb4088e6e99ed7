"""What is planned, and how it becomes orders: a portal after the other, at a pace."""

from array import array
from dataclasses import replace

import pytest

from forebay.console.orders.orders import Marks
from forebay.console.orders.writer import Meanwhile, OrderWriter, Overtaken, Pace, order_all
from forebay.console.planning import Planned, count_in, show_plan
from forebay.console.stopping import Stop
from forebay.processors.parking import orders
from forebay.processors.parking.orders import Order, What
from forebay.queues.contract import Record
from forebay.queues.errors import QueueError
from forebay.queues.memory import MemoryQueue
from forebay.schemas import names
from forebay.schemas.portal import partition_of

from .by_hand import order_writer

TOPIC = "bitrix24.events"


def planned(portal: str, *offsets: int) -> Planned:
    made = Planned(portal=portal, partition=partition_of(portal, 4), group="forebay", stream=TOPIC)
    for offset in offsets:
        made.add(offset, offset)
    return made


def orders_of(given: Planned) -> list[Order]:
    return list(given.orders(What.REPLAY, "anna@host", "why", 7))


def test_a_portal_is_one_order() -> None:
    (made,) = orders_of(planned("a.example", 1, 2, 3, 7, 9, 10))

    assert made.spans == ((1, 4), (7, 8), (9, 11))
    assert list(made.offsets()) == [1, 2, 3, 7, 9, 10]


def test_more_spans_than_an_order_holds_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.console.planning.MAX_SPANS", 3)

    made = orders_of(planned("a.example", *range(0, 14, 2)))

    assert [len(one.spans) for one in made] == [3, 3, 1]
    assert [offset for one in made for offset in one.offsets()] == list(range(0, 14, 2))


def test_the_fullest_order_is_not_too_large_for_a_queue() -> None:
    far = 10**12
    (made,) = orders_of(planned("a.example", *range(far, far + 2 * orders.MAX_SPANS, 2)))

    assert len(orders.written(made).value) < 900_000


def test_where_the_order_goes_back_another_one_begins() -> None:
    assert [one.spans for one in orders_of(planned("a.example", 5, 6, 2, 3, 9))] == [((5, 7),), ((2, 4), (9, 10))]


def test_nothing_planned_is_no_order() -> None:
    assert orders_of(planned("a.example")) == []


def test_marks_know_what_overlapping_orders_named() -> None:
    marks = Marks()
    spans = (((5, 12), (20, 21)), ((7, 8), (11, 13)), ((0, 1),))
    named = [
        Order(portal="a", what=What.REPLAY, stream=TOPIC, group="", who="", why=str(at), at_ms=at, spans=one)
        for at, one in enumerate(spans)
    ]

    marks.add(2, named)

    assert [offset for offset in range(25) if marks.has(2, offset)] == [0, *range(5, 13), 20]
    assert not marks.has(1, 5)
    assert marks.latest is named[2]


def test_a_plan_without_what_was_named_keeps_the_places_of_the_rest() -> None:
    given = Planned(portal="a", partition=0, group="", stream=TOPIC)
    for offset, place in ((1, 100), (2, 200), (3, 50)):
        given.add(offset, place)
    marks = Marks()
    marks.add(
        0, [Order(portal="a", what=What.DISCARD, stream=TOPIC, group="", who="", why="", at_ms=0, spans=((2, 3),))]
    )

    left = given.without(marks)

    assert (left.offsets, left.places) == (array("q", [1, 3]), array("q", [100, 50]))


def test_a_plan_is_shown_by_portal_the_fullest_first_with_how_long_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    plan = [planned("small.example", 1), planned("large.example", *range(2, 7_202))]

    show_plan(plan, "replay", 2.0, as_json=True)

    shown = capsys.readouterr()
    assert shown.out.splitlines()[0] == (
        '{"portal":"large.example","partition":'
        f'{plan[1].partition},"group":"forebay","stream":"bitrix24.events","records":7200}}'
    )
    assert shown.err == "replay: 7,201 records of 2 portals; at 2 a second about 1 h 0 min\n"


def test_of_a_long_plan_a_person_sees_the_beginning_and_a_program_all(capsys: pytest.CaptureFixture[str]) -> None:
    plan = [planned(f"p{number}.example", 1) for number in range(30)]

    show_plan(plan, "discard", None, as_json=False)
    person = capsys.readouterr()
    show_plan(plan, "discard", None, as_json=True)

    assert "… and 10 portals more" in person.err
    assert person.out.count(".example") == 20
    assert capsys.readouterr().out.count("\n") == count_in(plan) == 30


class Impatient(Stop):
    """Waits are noted instead of waited; it is to stop when so many were."""

    def __init__(self, waits: int = 99) -> None:
        super().__init__()
        self.waited: list[float] = []
        self.now, self._waits = 0.0, waits

    async def within(self, seconds: float) -> bool:
        self.waited.append(seconds)
        self.now += seconds
        if len(self.waited) == self._waits:
            self.ask()
        return self.is_asked


def nobody_else(queue: MemoryQueue) -> Meanwhile:
    return Meanwhile(inspector=queue.inspector(), topic=TOPIC, since={})


async def test_what_another_operator_orders_meanwhile_is_left_out(queue: MemoryQueue) -> None:
    stop, done = Impatient(), dict[str, list[int]]()
    pace = Pace(rate=10.0, stop=stop, clock=lambda: stop.now)
    plan = [planned("a.example", *range(20)), planned("b.example", 1, 2, 3), planned("c.example", 1)]
    meanwhile = nobody_else(queue)
    other = order_writer(queue)
    await other.put_all(replace(planned("b.example", 1), group="another"), What.REPLAY)
    await other.put_all(replace(planned("b.example", 2), stream=names.dead(TOPIC)), What.REPLAY)

    async def rival(seconds: float) -> bool:
        if not stop.waited:
            await other.put_all(planned("b.example", 2, 3), What.REPLAY)
        return await Impatient.within(stop, seconds)

    stop.within = rival  # type: ignore[method-assign]  # while it waits, the other one orders
    await order_all(
        plan,
        What.REPLAY,
        order_writer(queue),
        pace,
        meanwhile,
        lambda one, orders: done.update({one.portal: list(one.offsets)}),
    )

    assert done == {"a.example": list(range(20)), "b.example": [1], "c.example": [1]}


async def test_what_another_ordered_a_moment_ago_is_left_out_of_whatever_group_it_is(queue: MemoryQueue) -> None:
    stop, done = Impatient(), list[tuple[str, str, list[int]]]()
    pace = Pace(rate=1000.0, stop=stop, clock=lambda: stop.now)
    dead = [replace(planned(f"{name}.example", 1), stream=names.dead(TOPIC), group=name) for name in "abc"]
    other = order_writer(queue)

    async def rival(seconds: float) -> bool:
        if not stop.waited:
            await other.put_all(dead[2], What.REPLAY)
        return await Impatient.within(stop, seconds)

    stop.within = rival  # type: ignore[method-assign]  # before the second portal's turn, the other one orders the third
    await order_all(
        dead,
        What.REPLAY,
        order_writer(queue),
        pace,
        nobody_else(queue),
        lambda one, orders: done.append((one.portal, one.group, list(one.offsets))),
    )

    assert stop.waited == [0.001, 0.001]
    assert done == [("a.example", "a", [1]), ("b.example", "b", [1]), ("c.example", "c", [])]


async def test_of_two_who_order_the_same_side_by_side_one_ends_and_tells_of_the_other(queue: MemoryQueue) -> None:
    plan, done = [planned(f"p{number}.example", 1, 2) for number in range(300)], list[str]()
    anna = order_writer(queue)

    class Slower(OrderWriter):
        async def put_all(self, planned: Planned, what: What) -> list[Order]:
            await anna.put_all(planned, what)
            return await OrderWriter.put_all(self, planned, what)

    with pytest.raises(Overtaken, match=r"anna@host does the same just now, and was first: p0\.example"):
        await order_all(
            plan,
            What.REPLAY,
            Slower(producer=queue.producer(), topic=TOPIC, who="boris@host", why=""),
            Pace(rate=None, stop=Stop()),
            nobody_else(queue),
            lambda one, orders: done.append(one.portal),
        )

    assert len(done) == 100


async def test_what_was_ordered_before_the_plan_was_made_may_be_ordered_again(queue: MemoryQueue) -> None:
    done: list[list[int]] = []
    given = planned("a.example", 1, 2)
    await order_writer(queue).put_all(given, What.REPLAY)
    meanwhile = Meanwhile(inspector=queue.inspector(), topic=TOPIC, since={given.partition: 1})

    await order_all(
        [given],
        What.REPLAY,
        order_writer(queue),
        Pace(rate=None, stop=Stop()),
        meanwhile,
        lambda one, orders: done.append(list(one.offsets)),
    )

    assert done == [[1, 2]]


async def test_a_portal_waits_until_those_before_it_had_their_time(queue: MemoryQueue) -> None:
    stop, done = Impatient(), list[str]()
    pace = Pace(rate=10.0, stop=stop, clock=lambda: stop.now)
    plan = [planned("a.example", *range(20)), planned("b.example", *range(50)), planned("c.example", 1)]

    await order_all(
        plan, What.REPLAY, order_writer(queue), pace, nobody_else(queue), lambda one, orders: done.append(one.portal)
    )

    assert stop.waited == [2.0, 5.0]
    assert done == ["a.example", "b.example", "c.example"]


async def test_it_ends_between_two_portals(queue: MemoryQueue) -> None:
    stop, done = Impatient(waits=1), list[str]()
    pace = Pace(rate=10.0, stop=stop, clock=lambda: stop.now)
    plan = [planned("a.example", *range(20)), planned("b.example", 1)]

    await order_all(
        plan, What.REPLAY, order_writer(queue), pace, nobody_else(queue), lambda one, orders: done.append(one.portal)
    )

    assert done == ["a.example"]
    assert sum(map(len, queue.logs[names.audit(TOPIC)])) == 1


async def test_without_a_rate_nothing_waits(queue: MemoryQueue) -> None:
    stop = Impatient()

    await order_all(
        [planned(f"p{number}.example", 1) for number in range(5)],
        What.REPLAY,
        order_writer(queue),
        Pace(rate=None, stop=stop),
        nobody_else(queue),
        lambda one, orders: None,
    )

    assert stop.waited == []
    assert sum(map(len, queue.logs[names.audit(TOPIC)])) == 5


async def test_an_order_that_went_to_another_partition_is_an_error(queue: MemoryQueue) -> None:
    astray = planned("a.example", 1)
    astray.partition = (astray.partition + 1) % 4

    with pytest.raises(QueueError, match=r"was bitrix24\.events\.audit made with another number of partitions"):
        await order_writer(queue).put_all(astray, What.REPLAY)


async def test_a_record_of_somebody_else_is_no_order(queue: MemoryQueue) -> None:
    await queue.producer().send(names.audit(TOPIC), Record(key="a", value=b"junk", timestamp_ms=0))

    assert orders.read(queue.logs[names.audit(TOPIC)][partition_of("a", 4)][0]) is None
