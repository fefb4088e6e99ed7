"""How a partition's new owner begins."""

from itertools import count
from typing import Any

import pytest
from structlog.testing import capture_logs

from forebay.processors.notes import Place
from forebay.processors.parking import entries
from forebay.processors.parking.opening import opened
from forebay.processors.parking.state import PortalState
from forebay.processors.parking.stream import ParkedStream, key_in
from forebay.queues.contract import StoredRecord
from forebay.queues.errors import QueueError
from forebay.queues.memory import MemoryInspector, MemoryQueue
from forebay.schemas import names
from forebay.schemas.portal import partition_of

PORTAL, GROUP, TOPIC = "p.example", "shop", "events"


@pytest.fixture
async def queue() -> MemoryQueue:
    made = MemoryQueue()
    await made.ensure(names.streams(TOPIC), 1)
    return made


def stream(queue: MemoryQueue) -> ParkedStream:
    return ParkedStream(queue.producer(), queue.inspector(), TOPIC, GROUP, now=lambda: 0.0)


async def test_a_generation_is_committed_before_it_is_claimed(queue: MemoryQueue) -> None:
    log = queue.logs[names.parked(TOPIC)][0]
    seen: list[tuple[int, int]] = []

    async def commit(generation: int) -> None:
        seen.append((generation, len(log)))

    known = await opened(stream(queue), 0, Place(generation=6), commit)

    assert seen == [(7, 0)]
    assert (known.generation, known.claimed_at, len(log)) == (7, 0, 1)


async def test_an_owner_whose_note_was_lost_claims_more_than_the_stream_knows(queue: MemoryQueue) -> None:
    generations = count(1)

    async def commit(generation: int) -> None:
        next(generations)

    for place in (Place(generation=8), Place()):
        known = await opened(stream(queue), 0, place, commit)

    assert known.generation == 10
    assert next(generations) == 4


async def test_a_partition_that_the_parked_stream_lacks_is_claimed_in_no_other(queue: MemoryQueue) -> None:
    with pytest.raises(QueueError, match="forebay doctor"):
        await stream(queue).claim(1, 1, 0)

    assert queue.logs[names.parked(TOPIC)] == [[]]


async def test_a_claim_that_came_into_another_partition_is_none() -> None:
    class Outdated(MemoryInspector):
        async def partitions(self, stream: str) -> int:
            return 1

    grown = MemoryQueue()
    elsewhere = next(number for number in count(2) if partition_of(key_in(0, 1), number))
    await grown.ensure(names.streams(TOPIC), elsewhere)
    parked = ParkedStream(grown.producer(), Outdated(grown), TOPIC, GROUP, now=lambda: 0.0)

    with pytest.raises(QueueError, match="forebay doctor"):
        await parked.claim(0, 1, 0)


@pytest.mark.parametrize("position", [1, 500])
async def test_a_stream_that_was_made_anew_is_begun_at_its_start(
    queue: MemoryQueue, capsys: Any, position: int
) -> None:
    async def commit(generation: int) -> None: ...

    known = await opened(stream(queue), 0, Place(generation=3, position=position, in_force=3), commit)

    assert (known.generation, known.claimed_at) == (4, 0)
    assert "made anew" in capsys.readouterr().out


@pytest.mark.parametrize(("place", "known_orders"), [(Place(generation=1, in_force=1, orders=9), 9), (Place(), 0)])
async def test_an_end_of_the_orders_that_is_seen_too_early_has_none_of_them_obeyed_twice_but_in_a_copy(
    queue: MemoryQueue, place: Place, known_orders: int
) -> None:
    async def commit(generation: int) -> None: ...

    whose = (GROUP, 1)
    for one in (
        entries.claim(PORTAL, whose, 9, 0),
        entries.statement(PORTAL, PortalState(records=1, orders=9), whose, 0),
    ):
        await queue.producer().send(names.parked(TOPIC), one)

    known = await opened(stream(queue), 0, place, commit)

    ledger = known.ledger
    assert {known.next_order, ledger.obeyed[PORTAL], ledger.portals[PORTAL].state.orders} == {known_orders}


async def test_where_nothing_stands_before_its_claim_an_owner_reads_nothing(queue: MemoryQueue) -> None:
    looks: list[str] = []

    class Looking(MemoryInspector):
        async def read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
            looks.append(stream)
            return await super().read(stream, partition, offset, max_records)

    async def commit(generation: int) -> None: ...

    def parked() -> ParkedStream:
        return ParkedStream(queue.producer(), Looking(queue), TOPIC, GROUP, now=lambda: 0)

    first = await opened(parked(), 0, Place(), commit)
    assert not looks
    second = await opened(parked(), 0, Place(generation=1, in_force=1, position=1, orders=3, end=1), commit)
    assert not looks
    third = await opened(parked(), 0, Place(generation=2, in_force=1, position=1, end=2), commit)

    assert [one.generation for one in (first, second, third)] == [1, 2, 3]
    assert looks == [names.parked(TOPIC)]


BEGINNING, END = "has lost its beginning", "has lost its end"


@pytest.mark.parametrize(
    ("position", "end", "told"),
    [
        (6, 9, []),
        (4, 9, [(BEGINNING, 2)]),
        # With the beginning what was said last may be gone, too.
        (2, 4, [(BEGINNING, 4)]),
        (6, 10, [(END, None)]),
    ],
)
async def test_of_a_stream_that_begins_later_that_is_told_which_its_owner_misses(
    queue: MemoryQueue, position: int, end: int, told: list[tuple[str, int | None]]
) -> None:
    async def commit(generation: int) -> None: ...

    for _ in range(9):
        await stream(queue).write(entries.statement(PORTAL, PortalState(is_held=True), (GROUP, 1), 0))
    del queue.logs[names.parked(TOPIC)][0][:6]

    with capture_logs() as logs:
        await opened(stream(queue), 0, Place(generation=1, in_force=1, position=position, end=end), commit)

    found = [(one["event"].partition(" stream ")[2], one.get("lost")) for one in logs]
    assert [(what.split(",")[0], lost) for what, lost in found] == told
