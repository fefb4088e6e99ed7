from collections.abc import Callable

import pytest

from forebay.console.event_rows import Wanted, follow, readable
from forebay.queues.contract import Record
from forebay.queues.memory import MemoryQueue
from forebay.schemas.codec import codec

TOPIC = "bitrix24.events"
Make = Callable[..., object]


async def rows(queue: MemoryQueue, start: str | int = "earliest", **wanted: object) -> list[dict[str, object]]:
    return [dict(row) async for row in follow(queue.inspector(), codec(), TOPIC, start, Wanted(**wanted))]  # type: ignore[arg-type]


async def fill(queue: MemoryQueue, event: Make, record: Callable[..., Record], count: int) -> None:
    for number in range(count):
        portal = f"{'odd' if number % 2 else 'even'}.bitrix24.example"
        name = "ONCRMDEALADD" if number < 4 else "ONTASKUPDATE"
        await queue.producer().send(TOPIC, record(event(number, portal, name)))


async def test_an_event_is_shown_with_all_its_keys(queue: MemoryQueue, event: Make, record: Make) -> None:
    await queue.producer().send(TOPIC, record(event(7)))  # type: ignore[arg-type]

    (row,) = await rows(queue, count=1)

    assert {key: row[key] for key in row if key not in ("partition", "offset")} == {
        "id": "id-7",
        "portal": "one.bitrix24.example",
        "member_id": "m1",
        "kind": "event",
        "name": "ONCRMDEALADD",
        "data": {"FIELDS": {"ID": "7"}},
        "fields": {"event": "ONCRMDEALADD", "data[FIELDS][ID]": "7"},
        "occurred_at": None,
        "received_at": "2026-03-01T12:00:07Z",
    }
    assert (row["partition"], row["offset"]) == (queue.logs[TOPIC].index(next(filter(None, queue.logs[TOPIC]))), 0)


async def test_partitions_are_shown_together_in_the_order_of_time(
    queue: MemoryQueue, event: Make, record: Callable[..., Record]
) -> None:
    await fill(queue, event, record, 6)

    assert [row["id"] for row in await rows(queue, count=6)] == [f"id-{number}" for number in range(6)]


async def test_only_what_is_wanted_is_shown(queue: MemoryQueue, event: Make, record: Callable[..., Record]) -> None:
    await fill(queue, event, record, 6)

    of_portal = await rows(queue, portal="odd.bitrix24.example", count=3)
    of_event = await rows(queue, event="OnTask*", count=2)
    since = await rows(queue, 1_772_366_403_000, count=3)

    assert [row["id"] for row in of_portal] == ["id-1", "id-3", "id-5"]
    assert [row["id"] for row in of_event] == ["id-4", "id-5"]
    assert [row["id"] for row in since] == ["id-3", "id-4", "id-5"]


async def test_latest_shows_what_comes_afterwards(
    queue: MemoryQueue, event: Make, record: Callable[..., Record]
) -> None:
    await fill(queue, event, record, 3)

    async def then_another_comes(_: float) -> None:
        await queue.producer().send(TOPIC, record(event(100)))

    following = follow(queue.inspector(), codec(), TOPIC, "latest", Wanted(count=1), sleep=then_another_comes)

    assert [row["id"] async for row in following] == ["id-100"]


async def test_what_is_no_event_is_shown_as_such(queue: MemoryQueue) -> None:
    await queue.producer().send(TOPIC, Record(key="a\x1b[2J.example", value=b"junk", timestamp_ms=1))

    (row,) = await rows(queue, count=1)

    assert row["id"] is None
    assert "does not start as an event" in str(row["undecodable"])
    assert "not an event" in readable(row)
    assert "\x1b" not in readable(row)


@pytest.mark.parametrize("hostile", ["\x1b]0;title\x07", "a\nb", "\u202e"])
def test_a_portal_can_not_write_to_the_terminal(hostile: str) -> None:
    row = {
        "partition": 0,
        "offset": 1,
        "portal": "p",
        "name": "X",
        "kind": "event",
        "data": hostile,
        "received_at": "t",
    }

    assert readable(row).isprintable()
