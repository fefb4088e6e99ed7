"""The spool in front of an unreliable queue, one step after the other."""

import gc

import pytest

from forebay.ingest.spool.errors import SpoolFull
from forebay.queues.contract import Record
from forebay.queues.errors import QueueError, QueueUnavailable
from tests.spool.unreliable import Mode
from tests.spool.world import EVENTS, World, per_portal

LONG_S = 10


@pytest.mark.parametrize("is_little", [False, True], ids=["much is left", "little is left"])
async def test_on_another_worker_too_an_event_goes_behind_its_portals_backlog_or_waits_for_the_little_that_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch, is_little: bool
) -> None:
    if not is_little:
        monkeypatch.setattr("forebay.ingest.spool.passage._FEW_RECORDS", 0)
    one, other = await world.start(), await world.start()
    world.broker.mode = "hangs"
    first = await world.send("a.ru", one)
    one.passage.detour("late")
    await one.settled()
    world.broker.mode = "up"

    behind, beside = await world.send("a.ru", other), await world.send("b.ru", other)
    waits = not behind.kept.done()
    await world.heal()

    assert waits == is_little
    assert [call.kept.result() for call in (first, behind, beside)] == [True, not is_little, False]
    assert per_portal(world) == {"a.ru": [0, 1], "b.ru": [2]}


async def test_what_is_delivered_while_the_spool_takes_it_is_not_sent_again(world: World) -> None:
    worker = await world.start()
    world.broker.mode = "hangs"
    call = await world.send("a.ru", worker)

    worker.passage.detour("late")
    worker.producer.deliver_all()
    await world.heal()

    assert call.kept.result() is False
    assert per_portal(world) == {"a.ru": [0]}


async def test_what_may_still_be_delivered_is_not_told_as_failed_when_the_spool_is_full(full_world: World) -> None:
    worker = await full_world.start()
    full_world.broker.mode = "hangs"
    call = await full_world.send("a.ru", worker)

    worker.passage.detour("late")
    await worker.settled()
    waits = not call.kept.done()
    worker.producer.deliver_all()

    assert waits
    assert await call.kept is False


async def test_when_queue_and_spool_both_refuse_the_call_is_told_why_and_nothing_is_kept(full_world: World) -> None:
    worker = await full_world.start()
    full_world.broker.mode = "down"

    call = await full_world.send("a.ru", worker)
    later = await full_world.send("a.ru", worker)

    assert call.kept.done() and later.kept.done()
    assert isinstance(call.kept.exception(), QueueUnavailable)
    assert str(call.kept.exception()) == "the broker is down"
    assert isinstance(later.kept.exception(), SpoolFull)
    await full_world.heal()
    full_world.judge()
    assert per_portal(full_world) == {}


@pytest.mark.parametrize("mode", ["down", "refuses"])
async def test_calls_that_are_refused_leave_nothing_to_the_garbage_collector(full_world: World, mode: Mode) -> None:
    worker = await full_world.start()
    full_world.broker.mode = mode
    gc.collect()
    gc.disable()

    for number in range(50):
        with pytest.raises(QueueError):
            await worker.passage.send(EVENTS, Record(key="a.ru", value=b"x" * 1000, timestamp_ms=number))

    left = gc.collect()
    gc.enable()
    assert left < 50
