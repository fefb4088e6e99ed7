"""A queue's client that fails by an error that is none of the contract's, in front of the spool."""

import asyncio

import pytest
from structlog.testing import capture_logs

from forebay.ingest.spool import passage, pauses
from forebay.queues.contract import Delivery, Record
from forebay.queues.errors import QueueUnavailable
from tests.spool.world import World, per_portal

LONG_S = 10


async def test_a_record_of_the_spool_over_which_the_client_trips_goes_again_and_keeps_its_place(
    world: World,
) -> None:
    worker = await world.start()
    world.broker.mode = "down"
    for portal in ("a.ru", "b.ru", "a.ru", "b.ru"):
        await world.send(portal, worker)
    world.broker.mode, world.broker.modes = "up", {"a.ru": "trips"}

    with capture_logs() as lines:
        while worker.spool.counts.records > 2:
            await worker.step()
    rests, of_a = [*lines], per_portal(world).get("a.ru")
    worker.drain._pauses._resting.clear()
    world.broker.modes = {}
    await world.heal()

    assert of_a is None
    tripped = [line for line in rests if "a client's own fault" in str(line.get("traceback"))]
    # Not in each of the steps: it rests meanwhile.
    assert [line["portal"] for line in tripped] == ["a.ru"]
    assert per_portal(world) == {"a.ru": [0, 2], "b.ru": [1, 3]}


async def test_a_portal_over_which_the_client_trips_is_tried_again_and_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "_LONGEST_S", 0.0)
    worker = await world.start()
    world.broker.mode = "trips"
    call = await world.send("a.ru", worker)

    with capture_logs() as lines:
        for _ in range(3):
            await worker.step()

    assert call.kept.result() is True
    assert len([line for line in lines if line.get("traceback")]) == 3
    await world.heal()
    assert per_portal(world) == {"a.ru": [0]}


async def test_an_event_over_which_the_client_trips_is_kept_by_the_spool_and_others_pass(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No call waits for the little that is left.
    monkeypatch.setattr("forebay.ingest.spool.passage._FEW_RECORDS", 0)
    worker = await world.start()
    world.broker.modes = {"a.ru": "trips"}

    tripping, beside = await world.send("a.ru", worker), await world.send("b.ru", worker)
    world.broker.modes = {}
    behind = await world.send("a.ru", worker)
    await world.heal()

    assert [call.kept.result() for call in (tripping, beside, behind)] == [True, False, True]
    assert per_portal(world) == {"a.ru": [0, 2], "b.ru": [1]}


async def test_when_the_spool_refuses_too_the_call_is_told_that_its_event_is_kept_nowhere(full_world: World) -> None:
    worker = await full_world.start()
    full_world.broker.mode = "trips"

    call = await full_world.send("a.ru", worker)

    assert isinstance(call.kept.exception(), QueueUnavailable)
    await full_world.heal()
    full_world.judge()
    assert per_portal(full_world) == {}


async def test_a_client_that_trips_over_being_asked_is_asked_again(
    full_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passage, "_ASK_S", 0.0)
    worker = await full_world.start()
    full_world.broker.mode = "down"
    check, faults = worker.producer.check, [TypeError("a client's own fault")] * 2

    async def trip_and_check() -> None:
        if faults:
            raise faults.pop()
        await check()

    worker.producer.check = trip_and_check  # type: ignore[method-assign]
    await full_world.send("a.ru", worker)
    full_world.broker.mode = "up"

    async with asyncio.timeout(LONG_S):
        while worker.passage.breaker.is_open:
            await asyncio.sleep(0)

    assert not faults


@pytest.mark.parametrize("drains", [False, True], ids=["a call", "the drain"])
async def test_what_a_client_that_tripped_tells_of_a_record_later_counts_no_more(world: World, drains: bool) -> None:
    worker = await world.start()
    if drains:
        world.broker.mode = "down"
        await world.send("a.ru", worker)
    world.broker.mode = "hangs"
    submit, faults = worker.producer.submit, [MemoryError()]

    def submit_and_trip(stream: str, record: Record, delivery: Delivery) -> None:
        submit(stream, record, delivery)
        if faults:
            raise faults.pop()

    worker.producer.submit = submit_and_trip  # type: ignore[method-assign]
    if drains:
        await worker.step()
    else:
        await world.send("a.ru", worker)
    (late,) = worker.producer.pending

    is_wanted = not late.delivery.done()
    worker.producer.deliver(late)
    worker.drain._pauses._resting.clear()
    await world.heal()

    assert not is_wanted
    assert per_portal(world) == {"a.ru": [0, 0]}
