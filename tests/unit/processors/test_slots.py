"""A lane goes on when its turn is over, as long as nobody waits for another one, and gives way to whoever does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from forebay.processors.crashes.caution import Caution
from forebay.processors.lanes import Lanes
from forebay.processors.notes import Note
from forebay.processors.partitions import Lane, Partition
from forebay.processors.presence import Presence
from forebay.processors.slots import Slots
from forebay.processors.turn import TURN_S, Turn
from forebay.queues.contract import PlacedRecord, StoredRecord
from tests.clock import Clock
from tests.lives import Lives
from tests.waiting import until

SESSION_S, GAP_S = 30.0, 20.0

#: What a record does while it is handled, and whether its handler waits for something in it.
Handler = Callable[[str], Awaitable[None]]


class Stand:
    """Slots whose clock stands still but while a record is handled: each takes a whole turn."""

    def __init__(self, handler: Handler, caution: Caution | None = None) -> None:
        self.lanes, self.partition = Lanes(), Partition(0, 0, Note())
        self.clock, self.boot = Clock(), Clock()
        #: Each record's portal as it began, and its turn.
        self.begun: list[str] = []
        self.turns: list[Turn] = []
        self.is_ours = asyncio.Event()
        self._handler = handler
        self.presence = Presence(SESSION_S, self.is_ours.wait, clock=self.boot)
        self.slots = Slots(self.lanes, self._process, self.presence, clock=self.clock, caution=caution, whose=0)

    def add(self, portal: str, count: int) -> None:
        """So many records of a portal."""
        self.lanes.add(self.partition, [_record(portal, offset) for offset in range(count)])

    def _process(self, lane: Lane, turn: Turn) -> Awaitable[float | None]:
        self.begun.append(lane.portal)
        self.turns.append(turn)
        return self._handled(lane)

    async def _handled(self, lane: Lane) -> None:
        await self._handler(lane.portal)
        self.clock.now += TURN_S
        lane.records.popleft()

    @asynccontextmanager
    async def running(self, slots: int) -> AsyncIterator[None]:
        """With so many slots."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.slots.run_one()) for _ in range(slots)]
            try:
                yield
            finally:
                self.slots.close()
                for task in tasks:
                    task.cancel()

    async def done(self) -> None:
        """Return when no record is left."""
        await until(lambda: not self.partition.lanes)


def _record(portal: str, offset: int) -> StoredRecord:
    return PlacedRecord(key=portal, value=b"", timestamp_ms=0, stream="s", partition=0, offset=offset)


async def _waits(_portal: str) -> None:
    await asyncio.sleep(0)


async def test_a_lane_goes_on_while_nobody_waits() -> None:
    stand = Stand(_waits)
    stand.add("a", 5)

    async with stand.running(slots=1):
        await stand.done()

    assert len(stand.begun) == 5
    assert len(set(map(id, stand.turns))) == 1


async def test_a_lane_gives_way_to_one_that_has_come_meanwhile() -> None:
    async def handler(portal: str) -> None:
        await asyncio.sleep(0)
        if stand.begun == ["a"]:
            stand.add("b", 2)

    stand = Stand(handler)
    stand.add("a", 3)

    async with stand.running(slots=1):
        await stand.done()

    assert stand.begun == ["a", "b", "a", "b", "a"]


@pytest.mark.parametrize("waits", [0, 1])
async def test_a_lane_that_waits_no_more_lets_the_loop_have_its_chance(waits: int) -> None:
    late: list[int] = []

    async def handler(portal: str) -> None:
        number = len(stand.begun)
        asyncio.get_running_loop().call_soon(lambda: late.append(len(stand.begun) - number))
        if number <= waits:
            await asyncio.sleep(0)

    stand = Stand(handler)
    stand.add("a", 6)

    async with stand.running(slots=1):
        await stand.done()

    assert max(late) == waits


async def test_of_many_that_wake_at_once_those_who_come_late_begin_anew() -> None:
    stand = Stand(_waits)
    for portal in "abcd":
        stand.add(portal, 2)

    async with stand.running(slots=4):
        await stand.done()

    turns = {
        portal: [turn for turn, of in zip(stand.turns, stand.begun, strict=True) if of == portal] for portal in "ad"
    }
    assert turns["a"][0] is turns["a"][1]
    assert turns["d"][0] is not turns["d"][1]


async def test_after_a_gap_no_lane_goes_on_before_it_is_known_to_be_ours() -> None:
    async def handler(portal: str) -> None:
        await asyncio.sleep(0)
        stand.boot.now += GAP_S

    stand = Stand(handler)
    stand.add("a", 2)

    async with stand.running(slots=1):
        await until(lambda: len(stand.partition.lanes["a"].records) == 1)
        for _ in range(5):
            await asyncio.sleep(0)
        assert stand.begun == ["a"]


async def test_a_lane_does_not_go_on_when_the_slots_are_closed() -> None:
    async def handler(portal: str) -> None:
        await asyncio.sleep(0)
        stand.slots.close()

    stand = Stand(handler)
    stand.add("a", 2)

    async with asyncio.timeout(5):
        await stand.slots.run_one()

    assert stand.begun == ["a"]


@pytest.mark.parametrize("is_needed", [False, True])
async def test_a_lane_does_not_go_on_when_care_is_needed_or_is_no_longer(is_needed: bool, tmp_path: Path) -> None:
    async def handler(portal: str) -> None:
        await asyncio.sleep(0)
        caution.is_needed = not is_needed

    caution = Lives(tmp_path).begin()
    caution.is_needed = is_needed
    stand = Stand(handler, caution)
    stand.add("a", 2)

    async with stand.running(slots=1):
        await stand.done()
    caution.close(asked=True)

    assert [turn.care is not None for turn in stand.turns] == [is_needed, not is_needed]
