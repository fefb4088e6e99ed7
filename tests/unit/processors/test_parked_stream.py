"""What a worker writes into the parked stream and reads there, and what it does where that takes nothing."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from forebay.processors.parking import entries
from forebay.processors.parking.orders import What
from forebay.processors.parking.stream import ParkedStream
from forebay.queues.contract import PlacedRecord, Record, StoredRecord
from forebay.queues.errors import QueueUnavailable
from forebay.schemas import names
from tests.parking.moody import TOPIC
from tests.parking.world import World


def every(world: World, stream: str) -> Iterator[StoredRecord]:
    """What stands in the stream."""
    return (record for log in world.queue.logs[stream] for record in log)


def test_a_parked_stream_that_takes_nothing_is_told_once_however_many_portals_wait_for_it(world: World) -> None:
    troubled = [f"p{number}.example" for number in range(100)]
    world.failing.update(troubled)
    world.start()
    world.let(5)
    world.feel("refuses")
    for portal in troubled:
        world.send(portal, 1)

    with capture_logs() as logs:
        world.let(600)

    told = [one for one in logs if one["event"] == "not parked; trying again"]
    assert 1 <= len(told) <= len(world.queue.logs[TOPIC])


def test_more_portals_than_a_new_owner_reads_records_are_not_told_of_over_and_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.processors.parking.writing._LONGEST_READ", 20)
    troubled = [f"p{number}.example" for number in range(100)]
    world.failing.update(troubled)
    world.start(park_first_s=900.0, park_longest_s=900.0)
    for portal in troubled:
        world.send(portal, 1)
    world.let(60)
    parked = [len(log) for log in world.queue.logs[names.parked(TOPIC)]]
    world.let(300)

    assert [len(log) for log in world.queue.logs[names.parked(TOPIC)]] == parked


def test_of_a_portal_that_is_held_for_long_it_is_said_again_that_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.processors.parking.writing._LONGEST_READ", 20)
    held, failing = [f"{n}.example" for n in range(99) if world.partition(f"{n}.example") == 0][:2]
    world.start()
    world.order(What.HOLD, held)
    world.failing.add(failing)
    world.send(failing, 1)
    world.let(3600)

    log = world.queue.logs[names.parked(TOPIC)][0]
    assert len(log) > 100
    assert len(log) - world.place(held).position < 20 + 5

    world.order(What.RESUME, held)
    world.heal()
    world.judge()


def test_a_parked_stream_that_hangs_costs_no_partition_its_last_commit(world: World) -> None:
    worker = world.start()
    world.failing.add("a.example")
    world.send("a.example", 1)
    world.let(2)
    world.feel("waits")
    world.send("a.example", 1)
    world.let(2)
    portal = next(f"{n}.example" for n in range(99) if world.partition(f"{n}.example") != world.partition("a.example"))
    world.send(portal, 1)
    world.let(0.01)
    assert world.done[portal] == [1]
    world.stop(worker)

    assert world.commits()[world.partition(portal)].offset == 1

    world.heal()
    world.judge()


@pytest.mark.parametrize("portal", ["a.example", "fold.example"])
def test_what_is_done_and_not_spilled_yet_is_told_when_its_worker_leaves(world: World, portal: str) -> None:
    worker = world.start()
    world.let(0.01)
    world.feel("refuses")
    world.takes_s[portal] = 3.0
    world.send(portal, 20)
    world.let(3.5)
    # It was in hand when its portal was parked: the first, or the first about an object with those that came later.
    assert world.done[portal] == ([1] if portal == "a.example" else [1, 3, 5])
    assert worker._held.records > 0

    world.takes_s.clear()
    world.feel("takes")
    world.stop(worker)
    world.heal()
    world.judge()


def test_what_does_not_stand_in_the_partition_of_its_key_is_given_up_and_not_parked_where_nobody_would_look(
    world: World,
) -> None:
    portal, number = "a.example", world.partition("a.example")
    logs = world.queue.logs[TOPIC]
    world.send(portal, 1)
    record = logs[number].pop()
    assert isinstance(record, PlacedRecord)
    logs[1 - number].append(replace(record, partition=1 - number))
    world.failing.add(portal)
    world.start()
    world.let(60)

    assert not any(dict(one.headers).get(names.PARKED_KIND) == b"spill" for one in every(world, names.parked(TOPIC)))
    assert [one.key for one in every(world, names.dead(TOPIC))] == [portal]


def test_what_comes_while_the_parked_stream_takes_nothing_waits_behind_what_is_to_be_parked(world: World) -> None:
    world.start()
    world.let(1)
    world.feel("refuses")
    world.failing.add("a.example")
    world.send("a.example", 3)
    # Also when its next try is due.
    world.let(10)
    world.failing.clear()
    world.send("a.example", 3)
    world.let(5)
    assert world.done["a.example"] == []

    world.feel("takes")
    world.heal()
    world.judge()


def test_a_fault_while_an_event_is_parked_holds_back_no_commit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = [RuntimeError("a fault of ours")]
    spill = entries.spill

    def faulty(*given: Any) -> Record:
        if faults:
            raise faults.pop()
        return spill(*given)

    world.start()
    world.order(What.HOLD, "a.example")
    world.let(5)
    monkeypatch.setattr(entries, "spill", faulty)
    world.send("a.example", 1)
    with capture_logs() as logs:
        world.let(5)

    assert not faults
    assert [one["portal"] for one in logs if one["event"] == "not parked: a fault"] == ["a.example"]
    assert world.commits()[world.partition("a.example")].offset == 1

    world.order(What.RESUME, "a.example")
    world.heal()
    world.judge()


def test_what_could_not_be_told_before_a_partition_moved_comes_again_in_order_and_nothing_else(world: World) -> None:
    world.start()
    world.send("b.example", 3)
    world.let(5)
    world.failing.add("b.example")
    world.send("b.example", 3)
    world.let(5)
    world.feel("refuses")
    world.failing.clear()
    world.let(30)
    assert world.done["b.example"] == [1, 2, 3, 4, 5, 6]

    world.start()
    world.let(5)
    assert world.books.excused == {("b.example", number) for number in (4, 5, 6)}
    world.heal()
    world.judge()


def test_what_is_done_while_ever_more_events_are_parked_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    write = ParkedStream.write

    async def slow(self: ParkedStream, record: Record) -> int:
        position = await write(self, record)
        await asyncio.sleep(0.3)
        return position

    worker = world.start()
    world.takes_s["a.example"] = 1.0
    world.send("a.example", 30)
    world.let(10)
    monkeypatch.setattr(ParkedStream, "write", slow)
    for _ in range(100):
        world.send("a.example", 1)
        world.let(0.1)

    # Only what was done a moment ago comes again.
    world.kill(worker, 0)
    world.heal()
    world.judge()


def test_a_portal_that_waits_anew_has_nothing_said_of_it_that_is_older(world: World) -> None:
    worker, portal = world.start(), "a.example"
    world.failing.add(portal)
    world.send(portal, 3)
    world.let(5)
    world.failing.clear()
    world.takes_s[portal] = 1.5
    while len(world.done[portal]) < 2:
        world.let(0.1)
    world.send(portal, 1)
    while len(world.done[portal]) < 3:
        world.let(0.1)
    world.feel("waits")
    while len(world.done[portal]) < 4:
        world.let(0.1)
    # That nothing waits any more is on its way, and will be refused.
    [(_, _, delivery)] = world.queue.mood.waiting
    world.failing.add(portal)
    world.send(portal, 1)
    world.let(4)

    del world.queue.mood.waiting[0]
    world.loop.call_soon(delivery.set_exception, QueueUnavailable("no"))
    world.feel("takes")
    world.let(5)

    world.kill(worker, 0)
    world.heal()
    world.judge()
