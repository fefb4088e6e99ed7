"""Which letters are open: those that no order names."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from forebay.console.letters.letters import BOXES, Filter, Letter, letters
from forebay.console.letters.resolving import check_places, planned
from forebay.console.orders.following import Following
from forebay.console.orders.orders import count_of, dealt_with
from forebay.console.orders.replaying import Replay
from forebay.console.orders.writer import Meanwhile
from forebay.console.planning import Plan
from forebay.processors.parking import orders
from forebay.processors.parking.orders import Order, What
from forebay.queues.contract import Record
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.memory import MemoryQueue
from forebay.schemas import names
from forebay.schemas.codec import codec
from forebay.schemas.event import PortalEvent

from .by_hand import order_writer

TOPIC = "bitrix24.events"
Event = Callable[..., PortalEvent]
Dead = Callable[..., Record]


async def found(queue: MemoryQueue, wanted: Filter | None = None, box: str = "dead") -> list[Letter]:
    return [letter async for letter in letters(queue.inspector(), codec(), BOXES[box], TOPIC, wanted or Filter())]


async def bury(queue: MemoryQueue, *records: Record) -> None:
    for record in records:
        await queue.producer().send(names.dead(TOPIC), record)


async def planned_of(shown: list[Letter], group: str = "forebay") -> Plan:
    async def _given() -> AsyncIterator[Letter]:
        for letter in shown:
            yield letter

    return await planned(_given(), group)


async def order(queue: MemoryQueue, what: What, shown: list[Letter]) -> list[Order]:
    """Order it for the letters that were shown."""
    return [one for portal in await planned_of(shown) for one in await order_writer(queue).put_all(portal, what)]


async def test_a_dead_letter_is_listed_with_all_its_keys(queue: MemoryQueue, event: Event, dead_record: Dead) -> None:
    await bury(queue, dead_record(event(7)))

    (letter,) = await found(queue)

    assert letter.row() == {
        "id": "id-7",
        "portal": "one.bitrix24.example",
        "name": "ONCRMDEALADD",
        "error": "no stock",
        "error_class": "shop.NoStock",
        "attempts": 5,
        "partition": letter.record.partition,
        "offset": 0,
        "at": "2026-03-01T13:00:07Z",
    }


async def test_a_dead_letter_that_is_no_event_is_listed_by_its_place(queue: MemoryQueue) -> None:
    await bury(queue, Record(key="a.example", value=b"junk", timestamp_ms=0))

    (letter,) = await found(queue)

    assert letter.id == f"{letter.record.partition}-0"
    assert letter.name is None


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (Filter(), {"id-1", "id-2", "id-3"}),
        (Filter(ids=("id-2",)), {"id-2"}),
        (Filter(portal="two.example"), {"id-2"}),
        (Filter(event="ONTASK*"), {"id-3"}),
        (Filter(error="TIMEOUT"), {"id-2"}),
        (Filter(error="nostock"), {"id-1", "id-3"}),
        (Filter(since=datetime(2026, 3, 1, 13, 0, 2, tzinfo=UTC)), {"id-2", "id-3"}),
        (Filter(until=datetime(2026, 3, 1, 13, 0, 2, tzinfo=UTC)), {"id-1"}),
        (Filter(portal="two.example", event="ONTASK*"), set()),
    ],
)
async def test_filters_choose(
    queue: MemoryQueue, event: Event, dead_record: Dead, wanted: Filter, ids: set[str]
) -> None:
    await bury(queue, dead_record(event(1)), dead_record(event(3, name="ONTASKUPDATE")))
    await bury(queue, dead_record(event(2, "two.example"), "timeout", "TimeoutError"))

    assert {letter.id for letter in await found(queue, wanted)} == ids


@pytest.mark.parametrize("what", [What.REPLAY, What.DISCARD])
async def test_a_letter_that_an_order_names_is_open_no_more(
    queue: MemoryQueue, event: Event, dead_record: Dead, what: What
) -> None:
    await bury(queue, *(dead_record(event(number)) for number in (1, 2, 3)))

    (written,) = await order(queue, what, await found(queue, Filter(ids=("id-1", "id-3"))))

    assert [letter.id for letter in await found(queue)] == ["id-2"]
    assert written.spans == ((0, 1), (2, 3))
    assert not any(queue.logs[TOPIC])


async def test_an_order_about_another_stream_names_no_letter(
    queue: MemoryQueue, event: Event, dead_record: Dead
) -> None:
    await bury(queue, dead_record(event(1)))
    (one,) = await planned_of(await found(queue))

    for stream in (TOPIC, names.quarantine(TOPIC)):
        await order_writer(queue).put_all(replace(one, stream=stream), What.REPLAY)

    assert [letter.id for letter in await found(queue)] == ["id-1"]


async def test_an_order_says_who_why_and_for_which_group(queue: MemoryQueue, event: Event, dead_record: Dead) -> None:
    await bury(queue, dead_record(event(7)))

    await order(queue, What.REPLAY, await found(queue))

    (kept,) = [orders.read(record) for log in queue.logs[names.audit(TOPIC)] for record in log]
    assert kept is not None
    assert (kept.portal, kept.what, kept.stream) == ("one.bitrix24.example", What.REPLAY, names.dead(TOPIC))
    assert (kept.group, kept.who, kept.why) == ("forebay", "anna@host", "a test")
    assert kept.at_ms == 7


async def test_one_order_names_all_letters_of_a_portal_that_a_group_gave_up(
    queue: MemoryQueue, event: Event, dead_record: Dead
) -> None:
    def of_shop(number: int) -> Record:
        made = dead_record(event(number))
        headers = tuple((name, b"shop" if name == names.DEAD_GROUP else value) for name, value in made.headers)
        return Record(key=made.key, value=made.value, timestamp_ms=made.timestamp_ms, headers=headers)

    await bury(queue, *(dead_record(event(number)) for number in range(40)), of_shop(40))
    await bury(queue, dead_record(event(41, "two.bitrix24.example")))

    written = await order(queue, What.REPLAY, await found(queue))

    assert sorted((one.portal, one.group, count_of(one)) for one in written) == [
        ("one.bitrix24.example", "forebay", 40),
        ("one.bitrix24.example", "shop", 1),
        ("two.bitrix24.example", "forebay", 1),
    ]


async def test_a_letter_behind_those_of_later_events_is_replayed_before_them(
    queue: MemoryQueue, event: Event, dead_record: Dead
) -> None:
    def died(number: int) -> Record:
        made = dead_record(event(number))
        place = ((names.DEAD_PARTITION, b"0"), (names.DEAD_OFFSET, b"%d" % number))
        return Record(key=made.key, value=made.value, timestamp_ms=0, headers=(*made.headers, *place))

    await bury(queue, died(2), died(3), died(1))

    written = await order(queue, What.REPLAY, await found(queue))

    assert [one.spans for one in written] == [((2, 3),), ((0, 2),)]


async def test_the_same_event_that_dies_again_is_a_letter_of_its_own(
    queue: MemoryQueue, event: Event, dead_record: Dead
) -> None:
    await bury(queue, dead_record(event(1)))
    await order(queue, What.REPLAY, await found(queue))
    await bury(queue, dead_record(event(1)))

    assert [letter.id for letter in await found(queue)] == ["id-1"]


async def test_what_came_since_it_was_planned_is_not_meant(queue: MemoryQueue, event: Event, dead_record: Dead) -> None:
    await bury(queue, dead_record(event(1)))
    shown = await found(queue)
    await bury(queue, dead_record(event(2)))

    await order(queue, What.DISCARD, shown)

    assert [letter.id for letter in await found(queue)] == ["id-2"]


async def test_what_another_operator_has_dealt_with_since_is_left_out(
    queue: MemoryQueue, event: Event, dead_record: Dead
) -> None:
    await bury(queue, *(dead_record(event(number)) for number in (1, 2, 3)))
    plan = await planned_of(await found(queue))
    await order(queue, What.DISCARD, await found(queue, Filter(ids=("id-2",))))

    meanwhile = Meanwhile(inspector=queue.inspector(), topic=TOPIC, since={})
    (left,) = await meanwhile.left(plan)
    await order(queue, What.DISCARD, await found(queue))
    (nothing,) = await meanwhile.left(plan)

    assert list(left.offsets) == [0, 2]
    assert list(nothing.offsets) == []


async def test_a_replay_says_what_another_operator_has_dealt_with_since(
    queue: MemoryQueue, event: Event, dead_record: Dead
) -> None:
    await bury(queue, *(dead_record(event(number)) for number in (1, 2)))
    plan = await planned_of(await found(queue))
    await order(queue, What.REPLAY, await found(queue))
    (nothing,) = await Meanwhile(inspector=queue.inspector(), topic=TOPIC, since={}).left(plan)

    result = Replay(plan=plan, following=Following(inspector=queue.inspector(), topic=TOPIC))
    result.take(nothing, [])

    assert list(result.told()) == [
        "0 of 0 records of 0 portals handled",
        "2 records left out, which somebody else has dealt with meanwhile: forebay audit",
    ]


async def test_a_letter_that_no_order_can_name_is_refused(queue: MemoryQueue, event: Event, dead_record: Dead) -> None:
    await bury(queue, dead_record(event(1)))
    plan = await planned_of(await found(queue))

    check_places(plan, 4)
    with pytest.raises(QueueError, match=r"before the partitions became more.*--from"):
        check_places(plan, 3)


async def test_an_order_that_is_not_kept_leaves_the_letters_open(
    queue: MemoryQueue, event: Event, dead_record: Dead
) -> None:
    await bury(queue, dead_record(event(1)))
    shown = await found(queue)

    queue.down = True
    with pytest.raises(QueueUnavailable):
        await order(queue, What.REPLAY, shown)
    queue.down = False

    assert [letter.id for letter in await found(queue)] == ["id-1"]


async def test_what_stands_in_the_audit_stream_and_is_no_order_names_nothing(queue: MemoryQueue) -> None:
    for value in (b"", b"junk", b'{"what": "dance"}', b'{"what": "replay", "stream": 1}'):
        await queue.producer().send(names.audit(TOPIC), Record(key="a.example", value=value, timestamp_ms=0))

    marks = await dealt_with(queue.inspector(), TOPIC, names.dead(TOPIC), range(4))

    assert marks.latest is None


async def test_a_quarantined_call_is_listed_with_its_reason(queue: MemoryQueue) -> None:
    headers = (
        (names.QUARANTINE_ID, b"id-9"),
        (names.QUARANTINE_REASON, b"too_many_fields"),
        (names.QUARANTINE_DETAIL, b"6000 fields"),
        (names.QUARANTINE_AT, b"2026-03-01T12:00:00+00:00"),
    )
    await queue.producer().send(
        names.quarantine(TOPIC), Record(key="one.example", value=b"a=1", timestamp_ms=0, headers=headers)
    )

    (letter,) = await found(queue, box="quarantine")

    assert (letter.id, letter.error_class, letter.error, letter.attempts) == (
        "id-9",
        "too_many_fields",
        "6000 fields",
        0,
    )
