"""A portal's records stay in order, and no portal waits for another's flood."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from forebay.processors.lanes import Lanes
from forebay.processors.notes import Note
from forebay.processors.partitions import Partition
from forebay.processors.turn import TURN_RECORDS, Turn
from forebay.queues.contract import PlacedRecord, StoredRecord


def record(portal: str, offset: int) -> StoredRecord:
    return PlacedRecord(key=portal, value=b"", timestamp_ms=0, stream="s", partition=0, offset=offset)


def serve_one(lanes: Lanes) -> list[StoredRecord]:
    """What a slot does with a lane when every handler succeeds at once."""
    lane, turn, served = lanes._ready.popleft(), Turn(lambda: 0.0, int, 0), []
    while lane.records:
        served.append(lane.records.popleft())
        if not turn.goes_on():
            break
    lanes.put_back(lane)
    return served


@given(st.lists(st.sampled_from("abcde") | st.none(), max_size=300))
def test_each_portal_is_served_in_order_and_leaves_no_trace(steps: list[str | None]) -> None:
    lanes, partition, served = Lanes(), Partition(0, 0, Note()), []

    for offset, portal in enumerate(steps):
        if portal is not None:
            lanes.add(partition, [record(portal, offset)])
        elif partition.lanes:
            served += serve_one(lanes)
    while partition.lanes:
        served += serve_one(lanes)

    for portal in "abcde":
        mine = [one.offset for one in served if one.key == portal]
        assert mine == [offset for offset, key in enumerate(steps) if key == portal]
    assert not lanes._ready


@given(st.integers(1, 30), st.integers(0, 2000))
def test_nobody_waits_for_more_than_one_turn_of_each_other_portal(others: int, flood: int) -> None:
    lanes, partition = Lanes(), Partition(0, 0, Note())
    for offset in range(flood):
        lanes.add(partition, [record("flood", offset)])
    for number in range(others):
        lanes.add(partition, [record(f"p{number}", flood + number)])

    served: list[StoredRecord] = []
    while partition.lanes:
        served += serve_one(lanes)

    last = max(at for at, one in enumerate(served) if one.key != "flood")
    assert last < TURN_RECORDS + others


def test_a_turn_ends_by_time_too() -> None:
    times = iter([0.0, 0.01, 0.03])
    turn = Turn(lambda: next(times), int, 0)

    assert turn.goes_on()
    assert not turn.goes_on()


async def test_a_lane_that_waits_stands_in_no_line_until_its_time() -> None:
    lanes, partition = Lanes(), Partition(0, 0, Note())
    lanes.add(partition, [record("a", 0)])
    lane = await lanes.take()

    lanes.put_back_after(lane, 0.0)
    lanes.add(partition, [record("a", 1)])
    lanes.add(partition, [record("b", 2)])

    assert (await lanes.take()).portal == "b"
    async with asyncio.timeout(5):
        assert await lanes.take() is lane
    assert [one.offset for one in lane.records] == [0, 1]


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("delay_s", [0.0, 0.0001, 30.0])
def test_a_lane_says_how_long_it_waits_also_where_that_is_no_time(
    new_loop: Callable[[], asyncio.AbstractEventLoop], delay_s: float
) -> None:
    async def waits_s() -> float | None:
        lanes, partition = Lanes(), Partition(0, 0, Note())
        lanes.add(partition, [record("a", 0)])
        lane = lanes.first()
        assert lane is not None
        lanes.put_back_after(lane, delay_s)
        return lane.waits_s

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(waits_s()) == pytest.approx(delay_s, abs=1.0)
