"""Which events of a span a group has finished: neither those that are to come, nor those that wait in parking."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from forebay.console.orders.replay_search import Found, Search, Span
from forebay.processors.notes import Place, encode_note
from forebay.processors.parking import entries
from forebay.processors.parking.state import PortalState
from forebay.queues.contract import Commit, Record
from forebay.queues.memory import MemoryQueue
from forebay.schemas import names
from forebay.schemas.codec import codec
from forebay.schemas.event import PortalEvent
from forebay.schemas.portal import partition_of

TOPIC, GROUP = "bitrix24.events", "forebay"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
A = "a.example"
HERE = partition_of(A, 4)
B = next(f"b{number}.example" for number in range(99) if partition_of(f"b{number}.example", 4) == HERE)

Event = Callable[..., PortalEvent]
Make = Callable[..., Record]


async def found(queue: MemoryQueue, group: str = GROUP, **span: Any) -> Found:
    meant = Span(**{"since": START, "until": START + timedelta(hours=1), **span})
    search = Search(inspector=queue.inspector(), codec=codec(), topic=TOPIC, group=group, span=meant)
    return await search.run()


def offsets(given: Found) -> dict[str, list[int]]:
    return {planned.portal: list(planned.offsets) for planned in given.plan}


@pytest.fixture
async def finished(queue: MemoryQueue, event: Event, record: Make) -> MemoryQueue:
    """Ten events of A and B in turn, one a second; the group has finished all but the last two."""
    for number in range(10):
        await queue.producer().send(TOPIC, record(event(number, A if number % 2 == 0 else B)))
    commit(queue, 8)
    return queue


def commit(queue: MemoryQueue, offset: int) -> None:
    note = encode_note(offset, [], 1000, Place(generation=1))
    queue.group_states[TOPIC, GROUP].commits[HERE] = Commit(offset=offset, note=note)


async def spill(queue: MemoryQueue, offset: int, after: int) -> int:
    record = queue.logs[TOPIC][HERE][offset]
    kept = entries.spill(record, (GROUP, 1), after, 1)
    return (await queue.producer().send(names.parked(TOPIC), kept)).offset


async def test_what_the_group_has_finished_is_named_by_portal(finished: MemoryQueue) -> None:
    whole = await found(finished)

    assert offsets(whole) == {A: [0, 2, 4, 6], B: [1, 3, 5, 7]}
    assert (whole.to_come, whole.ordered_before) == (2, 0)
    assert {planned.stream for planned in whole.plan} == {TOPIC}
    assert {planned.group for planned in whole.plan} == {GROUP}


async def test_the_span_begins_with_its_first_moment_and_ends_before_its_last(finished: MemoryQueue) -> None:
    narrow = await found(finished, since=START + timedelta(seconds=2), until=START + timedelta(seconds=5))

    assert offsets(narrow) == {A: [2, 4], B: [3]}


async def test_a_portal_and_a_code_choose(finished: MemoryQueue, event: Event, record: Make) -> None:
    await finished.producer().send(TOPIC, record(event(11, A, name="ONTASKADD")))
    await finished.producer().send(TOPIC, Record(key=A, value=b"junk", timestamp_ms=1_772_366_412_000))
    commit(finished, 12)

    assert offsets(await found(finished, portal=B)) == {B: [1, 3, 5, 7, 9]}
    assert offsets(await found(finished, event="ONTASK*")) == {A: [10]}
    assert offsets(await found(finished, event="OnTask*")) == {A: [10]}
    assert offsets(await found(finished, portal=A, event="ONCRMDEALADD")) == {A: [0, 2, 4, 6, 8]}
    assert offsets(await found(finished, portal=A))[A][-1] == 11


async def test_what_waits_in_the_parked_stream_comes_anyway(finished: MemoryQueue) -> None:
    await spill(finished, 2, -1)
    await spill(finished, 4, 2)

    begun = await found(finished)

    assert offsets(begun) == {A: [0], B: [1, 3, 5, 7]}
    assert begun.to_come == 2 + 3


async def test_of_a_parked_portal_what_was_done_meanwhile_is_finished(finished: MemoryQueue) -> None:
    first = await spill(finished, 2, -1)
    # Another portal's record stands where the reading goes on.
    await spill(finished, 3, -1)
    await spill(finished, 4, 2)
    await spill(finished, 6, 4)
    state = PortalState(next=first + 1, after=2, last=6, records=2)
    await finished.producer().send(names.parked(TOPIC), entries.statement(A, state, (GROUP, 1), 1))

    later = await found(finished)

    assert offsets(later) == {A: [0, 2], B: [1]}


async def test_the_next_event_of_a_parked_portal_waits_wherever_its_record_stands(
    finished: MemoryQueue, event: Event, record: Make
) -> None:
    for number in (10, 11):
        await finished.producer().send(TOPIC, record(event(number, A)))
    commit(finished, 12)
    first = await spill(finished, 10, -1)
    await spill(finished, 9, -1)
    await spill(finished, 11, 10)
    state = PortalState(next=first + 1, after=10, last=11, records=1)
    await finished.producer().send(names.parked(TOPIC), entries.statement(A, state, (GROUP, 1), 1))

    assert offsets(await found(finished))[A] == [0, 2, 4, 6, 8, 10]


async def test_a_portal_whose_first_parked_record_is_gone_is_left_alone(finished: MemoryQueue) -> None:
    state = PortalState(next=70, last=6, records=2)
    await finished.producer().send(names.parked(TOPIC), entries.statement(A, state, (GROUP, 1), 1))

    assert offsets(await found(finished)) == {B: [1, 3, 5, 7]}


async def test_a_group_that_was_never_there_has_finished_nothing(finished: MemoryQueue) -> None:
    nothing = await found(finished, group="another")

    assert (offsets(nothing), nothing.to_come) == ({}, 10)
