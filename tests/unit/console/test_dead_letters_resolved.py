from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from forebay.console.letters import BOXES, Filter, Letter, letters
from forebay.console.resolving import Resolver
from forebay.queues.contract import Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryQueue
from forebay.schemas import names
from forebay.schemas.codec import codec
from forebay.schemas.event import PortalEvent

TOPIC = "bitrix24.events"
NOW = datetime(2026, 3, 2, tzinfo=UTC)
Event = Callable[..., PortalEvent]
Dead = Callable[..., Record]


async def found(queue: MemoryQueue, wanted: Filter | None = None, box: str = "dead") -> list[Letter]:
    return [letter async for letter in letters(queue.inspector(), codec(), BOXES[box], TOPIC, wanted or Filter())]


async def bury(queue: MemoryQueue, *records: Record) -> None:
    for record in records:
        await queue.producer().send(names.dead(TOPIC), record)


def resolver(queue: MemoryQueue) -> Resolver:
    return Resolver(producer=queue.producer(), topic=TOPIC, clock=lambda: NOW)


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


async def test_a_replay_sends_the_record_as_it_was_to_the_group_that_gave_it_up(
    queue: MemoryQueue, event: Event, dead_record: Dead
) -> None:
    dead = dead_record(event(7))
    await bury(queue, dead)

    await resolver(queue).replay(await found(queue))

    (again,) = [record for log in queue.logs[TOPIC] for record in log]
    assert (again.key, again.value) == (dead.key, dead.value)
    assert again.headers == ((names.CE_ID, b"id-7"), (names.REPLAY_GROUP, b"forebay"))
    assert again.timestamp_ms == NOW.timestamp() * 1000
    assert await found(queue) == []


async def test_replays_keep_the_order_of_a_portal(queue: MemoryQueue, event: Event, dead_record: Dead) -> None:
    await bury(queue, *(dead_record(event(number)) for number in range(50)))

    await resolver(queue).replay(await found(queue))

    ids = [codec().decode(record.value).id for log in queue.logs[TOPIC] for record in log]
    assert ids == [f"id-{number}" for number in range(50)]


async def test_what_is_discarded_is_open_no_more_and_nothing_else_happens(
    queue: MemoryQueue, event: Event, dead_record: Dead
) -> None:
    await bury(queue, dead_record(event(1)), dead_record(event(2)))

    await resolver(queue).discard(await found(queue, Filter(ids=("id-1",))))

    assert [letter.id for letter in await found(queue)] == ["id-2"]
    assert not any(queue.logs[TOPIC])
    mark = next(record for log in queue.logs[names.dead(TOPIC)] for record in log if not record.value)
    assert dict(mark.headers)[names.RESOLVED_BY] == b"discard"


async def test_the_same_event_that_dies_again_is_a_letter_of_its_own(
    queue: MemoryQueue, event: Event, dead_record: Dead
) -> None:
    await bury(queue, dead_record(event(1)))
    await resolver(queue).replay(await found(queue))
    await bury(queue, dead_record(event(1)))

    assert [letter.id for letter in await found(queue)] == ["id-1"]


async def test_a_replay_that_fails_leaves_the_letters_open(queue: MemoryQueue, event: Event, dead_record: Dead) -> None:
    await bury(queue, dead_record(event(1)))
    open_letters = await found(queue)

    queue.down = True
    with pytest.raises(QueueUnavailable):
        await resolver(queue).replay(open_letters)
    queue.down = False

    assert [letter.id for letter in await found(queue)] == ["id-1"]


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


async def test_what_came_since_it_was_shown_is_not_meant(queue: MemoryQueue, event: Event, dead_record: Dead) -> None:
    await bury(queue, dead_record(event(1)))
    wanted = Filter().exactly(await found(queue))
    await bury(queue, dead_record(event(2)), dead_record(event(3, portal="two.bitrix24.example")))

    assert [letter.id for letter in await found(queue, wanted)] == ["id-1"]
