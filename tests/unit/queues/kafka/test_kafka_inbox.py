"""What waits between the member's thread and `fetch`."""

import asyncio

import pytest

from forebay.queues.contract import PlacedRecord, StoredRecord
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.kafka.inbox import Inbox

#: Past the mark at which reading stops: sixteen of these.
MEGABYTE = 1_000_000


def records(partition: int, *offsets: int, size: int = 0) -> list[StoredRecord]:
    value = bytes(size)
    return [
        PlacedRecord(key="k", value=value, timestamp_ms=1, stream="s", partition=partition, offset=offset)
        for offset in offsets
    ]


def filled(inbox: Inbox, batches: dict[int, list[StoredRecord]]) -> Inbox:
    inbox.announce(batches)
    inbox.put(batches)
    return inbox


def places(found: list[StoredRecord]) -> list[tuple[int, int]]:
    return [(record.partition, record.offset) for record in found]


async def test_partitions_take_turns_and_keep_their_order() -> None:
    inbox = filled(Inbox(lambda: None), {0: records(0, *range(6)), 1: records(1, 0, 1)})
    filled(inbox, {1: records(1, 2)})

    turns = [places(await inbox.take(2, 0)) for _ in range(5)]

    assert turns == [[(0, 0), (0, 1)], [(1, 0), (1, 1)], [(0, 2), (0, 3)], [(1, 2), (0, 4)], [(0, 5)]]


async def test_who_was_away_finds_all_partitions_in_the_first_that_he_takes() -> None:
    inbox = Inbox(lambda: None)
    for start in range(0, 1000, 10):
        filled(inbox, {number: records(number, *range(start, start + 10)) for number in range(4)})

    found = places(await inbox.take(100, 0))

    assert [found.count((number, 0)) for number in range(4)] == [1] * 4
    assert found == sorted(found, key=lambda place: place[1] // 10), "each gives a batch in turn, in its order"


async def test_it_is_full_until_it_is_half_empty_and_then_says_so() -> None:
    told: list[str] = []
    inbox = filled(Inbox(lambda: told.append("room")), {0: records(0, *range(17), size=MEGABYTE)})
    states = [inbox.is_full]

    for _ in range(10):
        await inbox.take(1, 0)
        states.append(inbox.is_full)

    assert states == [True] * 10 + [False]
    assert len(told) == 10


async def test_what_is_forgotten_makes_room_and_is_not_given() -> None:
    inbox = filled(Inbox(lambda: None), {0: records(0, *range(17), size=MEGABYTE), 1: records(1, 0)})
    before = inbox.is_full

    inbox.forget(0)

    assert (before, inbox.is_full) == (True, False)
    assert places(await inbox.take(100, 0)) == [(1, 0)]


async def test_a_complaint_is_raised_once_and_a_final_one_always_but_records_come_first() -> None:
    inbox = filled(Inbox(lambda: None), {0: records(0, 0)})
    inbox.complain(QueueUnavailable("away"))
    assert places(await inbox.take(1, 0)) == [(0, 0)]

    with pytest.raises(QueueUnavailable, match="away"):
        await inbox.take(1, 0)
    assert await inbox.take(1, 0) == []

    inbox.complain(QueueError("for good"), is_final=True)
    inbox.complain(QueueUnavailable("away"))
    for _ in range(2):
        with pytest.raises(QueueError, match="for good"):
            await inbox.take(1, 0)


async def test_what_is_final_is_told_though_records_come_without_a_pause() -> None:
    inbox = filled(Inbox(lambda: None), {0: records(0, 0, 1)})
    inbox.complain(QueueError("for good"), is_final=True)

    for _ in range(2):
        filled(inbox, {1: records(1, 0)})
        with pytest.raises(QueueError, match="for good"):
            await inbox.take(1, 0)


async def test_closing_ends_the_waiting() -> None:
    inbox = Inbox(lambda: None)
    waiting = asyncio.create_task(inbox.take(1, 3600))
    await asyncio.sleep(0)

    inbox.close()

    assert await waiting == []
