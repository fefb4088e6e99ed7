"""What is loaded of parked portals, and when."""

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from forebay import PortalEvent
from forebay.processors.parking.orders import What
from forebay.processors.parking.stream import ParkedStream
from forebay.queues.contract import StoredRecord
from forebay.queues.errors import QueueUnavailable
from forebay.schemas import names
from tests.parking.moody import TOPIC
from tests.parking.shop import PORTAL, Shop, id_of
from tests.parking.world import World


def test_what_others_have_parked_in_between_is_passed_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.processors.parking.stream.BATCH_RECORDS", 2)
    portal, other = [f"{n}.example" for n in range(99) if world.partition(f"{n}.example") == 0][:2]
    world.start()
    world.failing.update((portal, other))
    for name, count in ((portal, 1), (other, 20), (portal, 1)):
        world.send(name, count)
        world.let(1)

    world.heal()
    world.judge()


def test_of_a_portal_whose_first_event_is_tried_again_no_more_is_loaded_with_what_others_wait_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal, other = [f"{n}.example" for n in range(99) if world.partition(f"{n}.example") == 0][:2]
    worker = world.start(max_held_records=1000, max_lane_records=1000)
    world.failing.update((portal, other))
    for name, count in ((other, 1), (portal, 8), (other, 8), (portal, 30)):
        world.send(name, count)
    world.let(10)
    world.failing.discard(portal)
    world.takes_s[portal] = 0.3
    while not world.done[portal]:
        world.let(0.1)
    # It is known how fast it gets through them, and then it fails again.
    world.failing.add(portal)
    world.let(10)
    world.takes_s[portal] = 30.0
    while not world.running[portal]:
        world.let(0.1)
    read, reads = ParkedStream.read, list[int]()

    async def slow(self: ParkedStream, stream: str, partition: int, position: int, count: int) -> list[StoredRecord]:
        reads.append(position)
        await asyncio.sleep(1)
        return await read(self, stream, partition, position, count)

    monkeypatch.setattr(ParkedStream, "read", slow)
    world.failing.discard(other)
    world.order(What.RESUME, other)
    while not reads:
        world.let(0.1)
    world.send(portal, 1)
    while len(world.done[other]) < 9:
        world.let(0.1)

    assert worker._attendant.room.records == 1

    world.heal()
    world.judge()


@pytest.mark.parametrize("is_busy", [False, True])
def test_records_of_a_parked_portal_that_are_gone_from_their_stream_are_told_and_hold_up_nobody(
    world: World, is_busy: bool
) -> None:
    portal, other = [f"{n}.example" for n in range(99) if world.partition(f"{n}.example") == 0][:2]
    worker = world.start()
    world.failing.update((portal, other))
    world.send(portal, 5)
    world.let(5)
    log = world.queue.logs[names.parked(TOPIC)][0]
    log[:] = [record for record in log if not record.value or b"reason" in record.value]
    world.failing.discard(portal)
    world.send(portal, 2)
    for _ in range(120):
        # What is parked of others comes behind what is gone.
        world.send(other, int(is_busy))
        world.let(1)

    assert worker.health.status == "ok"
    assert world.done[portal][-2:] == [6, 7]
    assert not any(portal in one.parking.portals for one in worker.ownership if one.parking)

    # Once.
    world.kill(worker, 0)
    with capture_logs() as logs:
        world.start()
        world.let(60)
    assert [one for one in logs if one["log_level"] == "error"] == []


def test_what_is_loaded_of_many_portals_takes_no_more_than_its_part_of_the_memory(world: World) -> None:
    portals = [f"{n}.example" for n in range(12)]
    # A quarter of it.
    worker = world.start(max_held_records=80)
    for portal in portals:
        world.order(What.HOLD, portal)
    world.let(3)
    for portal in portals:
        world.send(portal, 30)
        world.takes_s[portal] = 0.5
        world.let(0.1)
    world.let(3)
    most = 0
    for portal in portals:
        world.order(What.RESUME, portal)
    while not world.books.is_complete():
        world.let(0.1)
        most = max(most, worker._attendant.room.records)

    assert 10 < most <= 20
    world.heal()
    world.judge()


def parked_and_resumed(world: World, portals: Sequence[str]) -> None:
    """The portals' events are parked, ten of each after the others, and all of them go on at once."""
    for portal in portals:
        world.order(What.HOLD, portal)
    world.let(3)
    for _ in range(15):
        for portal in portals:
            world.send(portal, 10)
        world.let(0.1)
    world.let(3)
    for portal in portals:
        world.takes_s[portal] = 1.0
        world.order(What.RESUME, portal)


def test_all_who_are_parked_are_handled_at_once_as_each_has_its_share_of_the_memory(world: World) -> None:
    portals = [f"{n}.example" for n in range(12)]
    # A quarter of it is for who is parked.
    world.start(max_held_records=2000, concurrency=100)
    parked_and_resumed(world, portals)
    world.let(12)
    idle = 0
    for _ in range(40):
        world.let(0.5)
        idle += sum(not world.running[portal] for portal in portals)

    assert idle == 0
    world.heal()
    world.judge()


def test_one_look_at_the_parked_stream_serves_all_who_go_on_from_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    portals = [f"{n}.example" for n in range(99) if world.partition(f"{n}.example") == 0][:10]
    world.start(max_held_records=2000, concurrency=100)
    parked_and_resumed(world, portals)
    read, looks = ParkedStream.read, list[int]()

    async def counted(self: ParkedStream, stream: str, partition: int, position: int, count: int) -> list[StoredRecord]:
        looks.append(position)
        return await read(self, stream, partition, position, count)

    monkeypatch.setattr(ParkedStream, "read", counted)
    for number, portal in enumerate(portals):
        # Each comes to the end of what it has at a time of its own.
        world.takes_s[portal] = 1 + number / 10
    while not world.books.is_complete():
        world.let(1)

    # Of 1,500 events. By itself each would look once for every thirty of its own.
    assert len(looks) < 25
    world.heal()
    world.judge()


def test_the_tries_of_an_event_count_on_when_more_is_loaded_behind_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_of_the_last_64 = 257

    @shop.on("*", tries=4)
    async def handle(event: PortalEvent) -> None:
        if id_of(event) == first_of_the_last_64:
            raise ConnectionError("the portal's API is down")

    read = ParkedStream.read

    async def slow(self: ParkedStream, stream: str, partition: int, position: int, count: int) -> list[StoredRecord]:
        await asyncio.sleep(3)
        return await read(self, stream, partition, position, count)

    shop.start(memory_tries=10, retry_first_s=2, retry_total_s=100, max_lane_records=1000, max_held_records=4000)
    shop.world.order(What.HOLD, PORTAL)
    shop.let(3)
    shop.send("ONAPPTEST", *range(1, 400))
    shop.let(3)
    monkeypatch.setattr(ParkedStream, "read", slow)
    shop.world.order(What.RESUME, PORTAL)
    shop.let(100)

    assert shop.calls.count([first_of_the_last_64]) == 4
    assert shop.dead_ids() == [first_of_the_last_64]
    assert len(shop.calls) == 399 + 3


def test_what_can_not_be_read_is_told_once_and_no_longer_than_somebody_waits_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = next(f"{n}.example" for n in range(99) if world.partition(f"{n}.example") == 0)
    worker = world.start()
    world.failing.add(portal)
    world.send(portal, 3)
    world.let(5)

    async def read(self: ParkedStream, stream: str, partition: int, position: int, count: int) -> list[StoredRecord]:
        raise QueueUnavailable("away")

    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(ParkedStream, "read", read)
        world.let(120)
        status = [worker.health.status]
        world.order(What.HOLD, portal)
        world.let(5)
        status.append(worker.health.status)

    assert status == ["degraded", "ok"]
    assert [one["event"] for one in logs if "can't be read" in one["event"]] == [
        "parked records can't be read; trying again"
    ]

    world.order(What.RESUME, portal)
    world.heal()
    world.judge()
