"""What operators order about portals that are busy."""

from typing import Any

import pytest

from forebay import PortalEvent, Reject
from forebay.processors.parking import entries
from forebay.processors.parking.orders import What
from forebay.processors.parking.state import PortalState
from forebay.schemas import names
from tests.parking.moody import TOPIC
from tests.parking.shop import PORTAL, Shop, id_of
from tests.parking.world import GROUP


async def handled(given: Any) -> None:
    """Nothing to complain about."""


def last_state(shop: Shop) -> PortalState:
    """What the parked stream tells of the portal."""
    log = shop.world.queue.logs[names.parked(TOPIC)][shop.world.partition(PORTAL)]
    return [one.state for record in log if isinstance(one := entries.read(record, GROUP), entries.Stated)][-1]


def test_while_a_replay_is_handled_new_events_of_its_portal_come_and_wait_behind_it(shop: Shop) -> None:
    replayed, stock = range(1, 301), set[int]()

    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        if id_of(event) not in stock:
            raise Reject("no stock")
        await shop.nap(0.1)

    shop.send("ONAPPTEST", *replayed)
    shop.start(max_lane_records=1000, max_held_records=4000)
    shop.let(10)
    assert shop.dead_ids() == list(replayed)

    stock.update(range(1, 400))
    shop.calls.clear()
    shop.world.order(What.REPLAY, PORTAL, names.dead(TOPIC), ((0, 300),))
    shop.let(5)
    shop.send("ONAPPTEST", 301, 302)
    shop.let(60)

    assert shop.calls == [[number] for number in range(1, 303)]
    assert shop.committed() == 302


def test_what_a_handler_had_in_hand_when_its_portal_was_held_and_finished_is_not_handled_again(shop: Shop) -> None:
    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        await shop.nap(6)

    shop.send("ONAPPTEST", *range(1, 11))
    worker = shop.start(max_lane_records=5)
    shop.let(4)
    shop.world.order(What.HOLD, PORTAL)
    shop.let(30)
    assert shop.calls == [[1]]

    shop.world.stop(worker)
    shop.start()
    shop.world.order(What.RESUME, PORTAL)
    shop.let(120)

    assert shop.calls == [[number] for number in range(1, 11)]


@pytest.mark.parametrize("memory_tries", [1, 5])
def test_what_a_handler_had_in_hand_when_its_portal_was_held_is_not_tried_again_until_it_is_resumed(
    shop: Shop, memory_tries: int
) -> None:
    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        await shop.nap(6)
        if len(shop.calls) == 1:
            raise ConnectionError("the portal's API is down")

    shop.send("ONAPPTEST", 1, 2)
    worker = shop.start(memory_tries=memory_tries)
    shop.let(4)
    shop.world.order(What.HOLD, PORTAL)
    shop.let(60)
    assert shop.calls == [[1]]

    shop.world.order(What.RESUME, PORTAL)
    shop.let(60)

    assert shop.calls == [[1], [1], [2]]
    assert shop.committed() == 2
    assert (worker._held.records, worker._held.bytes) == (0, 0)


@pytest.mark.parametrize("takes_s", [0, 6])
def test_of_a_held_portal_it_is_told_how_often_its_first_event_was_tried(shop: Shop, takes_s: float) -> None:
    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        await shop.nap(takes_s)
        raise ConnectionError("the portal's API is down")

    shop.send("ONAPPTEST", 1)
    shop.start(memory_tries=5, retry_first_s=20, retry_total_s=100)
    shop.let(4)
    # Between its tries, or while it is tried.
    shop.world.order(What.HOLD, PORTAL)
    shop.let(30)

    assert (shop.calls, last_state(shop).is_held, last_state(shop).attempts) == ([[1]], True, 1)


def test_of_a_portal_that_its_handler_lets_wait_it_is_told_how_often_its_event_was_tried(shop: Shop) -> None:
    @shop.on("*", give_up="hold", tries=3)
    async def handle(event: PortalEvent) -> None:
        raise ConnectionError("the portal's API is down")

    shop.send("ONAPPTEST", 1, 2)
    shop.start(memory_tries=5)
    shop.let(30)

    assert (shop.calls, last_state(shop).is_held, last_state(shop).attempts) == ([[1]] * 3, True, 3)


def test_what_is_left_of_a_batch_when_its_portal_was_held_waits_until_it_is_resumed(shop: Shop) -> None:
    @shop.on("*", batch=4)
    async def handle(events: list[PortalEvent]) -> None:
        await shop.nap(6)
        if len(shop.calls) == 1:
            raise Reject("wrong", done=1)

    shop.send("ONAPPTEST", *range(1, 7))
    shop.start(memory_tries=5, max_lane_records=1000)
    shop.let(4)
    shop.world.order(What.HOLD, PORTAL)
    shop.let(60)
    assert shop.calls == [[1, 2, 3, 4]]
    assert shop.dead_ids() == [2]

    shop.world.order(What.RESUME, PORTAL)
    shop.let(60)

    assert shop.calls == [[1, 2, 3, 4], [3, 4, 5, 6]]
    assert shop.committed() == 6


def test_what_is_done_and_not_parked_yet_when_its_portal_is_held_is_not_handled_again(shop: Shop) -> None:
    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        await shop.nap(6)

    shop.start(max_lane_records=5)
    shop.let(1)
    shop.world.feel("refuses")
    shop.send("ONAPPTEST", *range(1, 11))
    shop.let(10)
    assert shop.calls == [[1]]

    shop.world.order(What.HOLD, PORTAL)
    shop.let(5)
    shop.world.feel("takes")
    shop.world.order(What.RESUME, PORTAL)
    shop.let(120)

    assert shop.calls == [[number] for number in range(1, 11)]


def test_what_fails_and_is_not_parked_yet_when_its_portal_is_held_takes_memory_once(shop: Shop) -> None:
    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        await shop.nap(6)
        if len(shop.calls) == 1:
            raise ConnectionError("the portal's API is down")

    worker = shop.start(max_lane_records=5, memory_tries=5)
    shop.let(1)
    shop.world.feel("refuses")
    shop.send("ONAPPTEST", *range(1, 11))
    shop.let(4)
    shop.world.order(What.HOLD, PORTAL)
    shop.let(10)
    assert shop.calls == [[1]]
    assert worker._held.records == 10

    shop.world.feel("takes")
    shop.let(5)
    assert worker._held.records == 0
    shop.world.order(What.RESUME, PORTAL)
    shop.let(120)

    assert shop.calls == [[1], *([number] for number in range(1, 11))]
