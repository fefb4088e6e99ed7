"""A worker that takes over a partition in which portals are parked, and the one that had it."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from forebay.processors.parking.obeying import obey
from forebay.processors.parking.orders import What
from forebay.queues.contract import Bounds, Commit
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryConsumer, MemoryInspector
from forebay.schemas import names
from tests.parking.moody import TOPIC
from tests.parking.world import EACH, World

PORTAL = "a.example"


def test_what_comes_before_it_knows_who_is_parked_waits_behind_what_is(world: World) -> None:
    worker = world.start()
    world.failing.add(PORTAL)
    world.send(PORTAL, 3)
    world.let(5)
    world.stop(worker)
    world.failing.clear()
    world.feel("refuses")
    world.start()
    world.send(PORTAL, 3)
    world.let(5)
    assert world.done[PORTAL] == []

    world.feel("takes")
    world.heal()
    world.judge()


def test_it_claims_nothing_before_the_queue_has_taken_that_the_partition_is_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: MemoryConsumer, commits: Mapping[int, Commit]) -> None:
        raise QueueUnavailable("no commits just now")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryConsumer, "commit", away)
        world.start()
        world.send(PORTAL, 1)
        world.let(30)

        assert not any(world.queue.logs[names.parked(TOPIC)])
        assert world.done[PORTAL] == []

    world.heal()
    world.judge()


@pytest.mark.parametrize("what", ["the claim", "the commit", "the look"])
def test_while_it_can_not_begin_it_is_told_that_nothing_gets_done_though_nothing_fails(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async def refused(self: MemoryConsumer, commits: Mapping[int, Commit]) -> None:
        raise QueueUnavailable("no commits just now")

    async def hangs(self: MemoryInspector, stream: str, only: Collection[int] | None = None) -> dict[int, Bounds]:
        return {} if stream == TOPIC else await asyncio.Future[dict[int, Bounds]]()

    with monkeypatch.context() as patch:
        if what == "the claim":
            world.feel("waits")
        elif what == "the commit":
            patch.setattr(MemoryConsumer, "commit", refused)
        else:
            patch.setattr(MemoryInspector, "bounds", hangs)
        worker = world.start()
        world.send(PORTAL, 1)
        world.let(5)
        was_ready = worker.health.is_ready
        world.let(25)

        assert was_ready and not worker.health.is_ready
        assert "nothing of partition" in str(worker.health.parts()["parking"])
        assert worker.metrics.actionable_lag._value.get() > 25
        assert not world.done

    if what == "the look":
        world.kill(worker, 0)
        worker = world.start()
    world.heal()
    world.let(2)
    assert worker.health.parts()["parking"] == {"state": "ok", "why": ""}
    assert worker.metrics.actionable_lag._value.get() == 0
    world.judge()


def test_an_order_that_was_obeyed_and_is_done_is_not_obeyed_again_where_no_commit_said_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = world.start()
    world.send(PORTAL, 3)
    world.let(5)
    calls = len(world.books.begun_at[PORTAL])

    async def away(self: MemoryConsumer, commits: Mapping[int, Commit]) -> None:
        raise QueueUnavailable("no commits just now")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryConsumer, "commit", away)
        world.books.excused |= set(world.books.done_at)
        world.order(What.REPLAY, PORTAL, stream=TOPIC, spans=((2, 3),))
        world.let(5)
        assert len(world.books.begun_at[PORTAL]) == calls + 1
        world.kill(worker, 0)
    world.start()
    world.let(30)

    assert len(world.books.begun_at[PORTAL]) == calls + 1
    world.heal()
    world.judge()


def test_nor_where_only_the_commit_says_so(world: World) -> None:
    worker = world.start()
    world.send(PORTAL, 3)
    world.let(5)
    world.books.excused |= set(world.books.done_at)
    world.order(What.REPLAY, PORTAL, stream=TOPIC, spans=((2, 3),))
    world.let(5)
    calls = len(world.books.begun_at[PORTAL])
    world.kill(worker, 0)
    world.start()
    world.let(30)

    assert len(world.books.begun_at[PORTAL]) == calls == 4
    world.heal()
    world.judge()


def test_where_a_fault_keeps_it_from_beginning_it_begins_again_and_nothing_is_passed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [RuntimeError("a fault of ours")]

    def faulty(*given: Any) -> None:
        if faults:
            raise faults.pop()
        obey(*given)

    monkeypatch.setattr("forebay.processors.parking.parking.obey", faulty)
    world.order(What.RESUME, PORTAL)
    world.feel("refuses")
    world.start()
    world.send(PORTAL, 3)
    world.let(3)
    world.feel("takes")
    world.let(5)
    assert not faults
    world.send(PORTAL, 3)

    world.heal()
    world.judge()


def test_who_begins_anew_commits_that_and_up_to_where_it_has_written_before_anything_is_parked(world: World) -> None:
    world.start()
    world.let(0.1)

    assert not any(world.place(portal).begins_anew for portal in EACH)
    assert [world.place(portal).end for portal in EACH] == [1, 1]


def test_its_commit_says_which_orders_were_read_also_where_there_was_nothing_to_do(world: World) -> None:
    worker = world.start()
    world.let(5)
    world.stop(worker)
    world.order(What.RESUME, PORTAL)
    world.start()
    world.let(0.5)
    assert world.place(PORTAL).orders == 1

    world.order(What.RESUME, PORTAL)
    world.let(5)
    assert world.place(PORTAL).orders == 2


def test_a_portal_whose_replay_can_not_be_gone_on_with_is_parked_no_longer(world: World) -> None:
    worker = world.start()
    world.send(PORTAL, 3)
    world.let(5)
    world.takes_s[PORTAL] = 30.0
    world.order(What.REPLAY, PORTAL, stream=TOPIC, spans=((0, 3),))
    world.let(5)
    world.stop(worker)
    # As in a copy of the streams, or where retention has taken the order.
    world.queue.logs[names.audit(TOPIC)][world.partition(PORTAL)].clear()
    world.start()

    world.heal()
    world.judge()


def test_what_was_done_of_what_is_parked_when_its_worker_left_is_not_handled_again(world: World) -> None:
    worker = world.start(commit_interval_s=1000.0)
    world.failing.add(PORTAL)
    world.send(PORTAL, 50)
    world.let(5)
    world.failing.clear()
    world.takes_s[PORTAL] = 0.5
    while len(world.done[PORTAL]) < 10:
        world.let(0.1)
    world.stop(worker)
    assert len(world.done[PORTAL]) < 20

    world.heal()
    world.judge()


def test_what_was_loaded_of_a_partition_that_went_to_another_takes_no_memory_any_more(world: World) -> None:
    portals = [next(f"{n}.example" for n in range(99) if world.partition(f"{n}.example") == one) for one in (0, 1)]
    leaves = world.start(max_held_records=1000)
    world.failing.update(portals)
    for portal in portals:
        world.send(portal, 50)
    world.let(5)
    world.failing.clear()
    world.takes_s.update(dict.fromkeys(portals, 0.5))
    while any(len(world.done[portal]) < 10 for portal in portals):
        world.let(0.1)
    world.start()
    world.let(5)

    assert len(list(leaves.ownership)) == 1
    world.heal()
    world.judge()


def test_what_came_before_it_knew_who_is_parked_takes_no_memory_when_the_partition_goes(world: World) -> None:
    world.feel("refuses")
    leaves = world.start()
    for portal in ("0.example", "1.example", "2.example", "3.example"):
        world.send(portal, 3)
    world.let(5)
    assert leaves._held.records == 12
    world.start()
    world.let(5)
    assert len(list(leaves.ownership)) == 1

    world.feel("takes")
    world.heal()
    world.judge()


def test_a_partition_that_goes_again_and_again_leaves_no_task_behind(world: World) -> None:
    portals = [next(f"{n}.example" for n in range(99) if world.partition(f"{n}.example") == one) for one in (0, 1)]
    world.start()
    world.failing.update(portals)
    for portal in portals:
        world.send(portal, 5)
    world.let(30)
    world.feel("refuses")
    tasks = []
    for _ in range(4):
        other = world.start()
        world.let(10)
        world.stop(other)
        world.let(10)
        tasks.append(len(asyncio.all_tasks(world.loop)))

    assert tasks == tasks[:1] * 4
    world.heal()
    world.judge()


def test_what_a_handler_has_in_hand_and_is_to_be_parked_counts_once_when_its_partition_is_lost(world: World) -> None:
    worker = world.start()
    world.let(1)
    world.feel("refuses")
    world.takes_s[PORTAL] = 60.0
    world.send(PORTAL, 20)
    world.let(5)
    [parked] = [one.parking.portals[PORTAL] for one in worker.ownership if one.parking and one.parking.portals]
    assert parked.has_in_hand(parked.to_spill[0])

    worker.ownership.lost(world.partition(PORTAL))

    assert (worker._held.records, worker._held.bytes) == (0, 0)


def test_nothing_more_is_parked_by_whoever_has_lost_the_partition(world: World) -> None:
    worker = world.start()
    world.let(1)
    world.feel("refuses")
    world.failing.add(PORTAL)
    world.send(PORTAL, 3)
    world.let(5)
    [parked] = [one.parking.portals[PORTAL] for one in worker.ownership if one.parking and one.parking.portals]
    assert parked.writer is not None

    worker.ownership.lost(world.partition(PORTAL))
    world.let(0.01)

    assert parked.writer is None
