"""Coalescing: of what waits about an object the last is handled, in the place of the first, and nothing is lost."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from forebay import PortalEvent, Reject, Retry
from forebay.processors.parking.orders import What
from forebay.schemas import names
from tests.parking.moody import TOPIC
from tests.parking.shop import PORTAL, Shop, id_of

#: What a lane may hold in memory here is more than these tests send, so that nothing is parked for being many.
ROOMY: dict[str, Any] = {"max_lane_records": 10_000, "max_held_records": 10_000}


class Seen:
    """What a handler was given: name, id and number of each event, and how many were folded into it."""

    def __init__(self, shop: Shop, *names: str, takes_s: float = 0.0, **options: Any) -> None:
        self.shop, self.takes_s, self.events = shop, takes_s, list[tuple[str, int, int, int]]()
        self.error: Exception | None = None
        shop.on(*names, **({"coalesce": "entity"} | options))(self.handle)

    async def handle(self, event: PortalEvent) -> None:
        await self.shop.nap(self.takes_s)
        if self.error:
            raise self.error
        data: Any = event.data
        name = event.name.removeprefix("ONCRMDEAL").lower()
        self.events.append((name, id_of(event), int(data["FIELDS"].get("N", 0)), event.folded))


def send(shop: Shop, *told: str) -> None:
    """`update 7` and the like, about deals, numbered."""
    for number, one in enumerate(told):
        name, _, deal = one.partition(" ")
        shop.send(f"ONCRMDEAL{name.upper()}", int(deal), N=number)


def test_of_what_waits_about_an_object_the_last_is_handled_at_the_place_of_the_first(shop: Shop) -> None:
    seen = Seen(shop, "ONCRMDEAL*")
    send(shop, "update 1", "update 2", "update 1", "update 3", "update 1", "update 2")

    shop.start(**ROOMY)
    shop.let(3)

    assert seen.events == [("update", 1, 4, 2), ("update", 2, 5, 1), ("update", 3, 3, 0)]
    assert shop.committed() == 6


@pytest.mark.parametrize(
    ("told", "handled"),
    [
        (["add", "update", "update"], [("add", 0), ("update", 1)]),
        (["update", "update", "delete"], [("delete", 2)]),
        (["add", "delete"], [("add", 0), ("delete", 0)]),
        (["add", "add"], [("add", 0), ("add", 0)]),
        (["delete", "update", "update"], [("delete", 0), ("update", 1)]),
        (["update", "delete", "add", "update", "update"], [("delete", 1), ("add", 0), ("update", 1)]),
        (["update", "add", "update"], [("update", 0), ("add", 0), ("update", 0)]),
        (["update", "movetocategory", "update"], [("update", 2)]),
    ],
)
def test_adds_and_deletes_stand_for_themselves(shop: Shop, told: list[str], handled: list[tuple[str, int]]) -> None:
    seen = Seen(shop, "ONCRMDEAL*")
    send(shop, *(f"{one} 7" for one in told))

    shop.start(**ROOMY)
    shop.let(3)

    assert [(name, folded) for name, _, _, folded in seen.events] == handled


def test_nothing_passes_an_event_about_the_object_that_another_handler_gets(shop: Shop) -> None:
    seen = Seen(shop, "ONCRMDEALUPDATE")
    deleted: list[int] = []

    @shop.on("ONCRMDEALDELETE")
    async def handler(event: PortalEvent) -> None:
        deleted.append(len(seen.events))

    send(shop, "update 1", "update 1", "delete 1", "update 1", "update 1")
    shop.start(**ROOMY)
    shop.let(3)

    assert [(number, folded) for _, _, number, folded in seen.events] == [(1, 1), (4, 1)]
    assert deleted == [1]


def test_events_of_other_handlers_and_objects_are_passed(shop: Shop) -> None:
    seen = Seen(shop, "ONCRMDEALUPDATE")
    Seen(shop, "ONTASK*", coalesce=None)
    send(shop, "update 1")
    shop.send("ONTASKADD", 5)
    send(shop, "update 1")

    shop.start(**ROOMY)
    shop.let(3)

    assert [folded for *_, folded in seen.events] == [1]


def test_a_function_says_what_an_event_is_about(shop: Shop) -> None:
    seen = Seen(shop, "ONCRMDEAL*", coalesce=lambda event: "all" if id_of(event) < 3 else None)
    send(shop, "add 1", "update 3", "update 2", "update 3")

    shop.start(**ROOMY)
    shop.let(3)

    assert [(deal, folded) for _, deal, _, folded in seen.events] == [(2, 1), (3, 0), (3, 0)]


class Unspeakable(Exception):
    """Shows nothing of itself."""

    def __repr__(self) -> str:
        raise TypeError("no")


@pytest.mark.parametrize("error", [KeyError("no such field"), Unspeakable()])
def test_a_function_that_fails_folds_nothing_and_loses_nothing(shop: Shop, error: Exception) -> None:
    def about(event: PortalEvent) -> str:
        raise error

    seen = Seen(shop, "ONCRMDEAL*", coalesce=about)
    send(shop, "update 1", "update 1")

    with capture_logs() as logs:
        shop.start(**ROOMY)
        shop.let(3)

    assert [folded for *_, folded in seen.events] == [0, 0]
    assert [one["event"] for one in logs].count("not coalesced") == 2


def test_what_comes_while_an_object_is_handled_has_its_own_turn(shop: Shop) -> None:
    seen = Seen(shop, "ONCRMDEAL*", takes_s=1)
    send(shop, "update 1", "update 1")
    shop.start(**ROOMY)
    shop.let(0.5)
    send(shop, "update 1", "update 1", "update 1")
    shop.let(5)

    assert [folded for *_, folded in seen.events] == [1, 2]


def test_an_object_that_changes_all_the_time_has_its_turn_as_any_other(shop: Shop) -> None:
    seen = Seen(shop, "ONCRMDEAL*", takes_s=1)
    shop.start(**ROOMY)
    send(shop, *(f"update {deal}" for deal in range(10)))
    for _ in range(40):
        send(shop, "update 5")
        shop.let(0.5)

    assert [deal for _, deal, _, _ in seen.events][:10] == list(range(10))


def test_nothing_is_finished_before_what_it_was_folded_into_is(shop: Shop) -> None:
    seen = Seen(shop, "ONCRMDEAL*")
    seen.error = Retry(after_s=20)
    send(shop, *["update 1"] * 50)
    worker = shop.start(memory_tries=1000, **ROOMY)
    shop.let(10)
    assert shop.committed() == 0
    # Those in between take no memory while they wait for the last.
    assert worker._held.records == 2

    shop.world.kill(worker, 0)
    seen.error = None
    shop.start(**ROOMY)
    shop.let(5)

    assert seen.events == [("update", 1, 49, 49)]
    assert shop.committed() == 50


def test_what_is_given_up_takes_with_it_what_was_folded_into_it(shop: Shop) -> None:
    seen = Seen(shop, "ONCRMDEAL*")
    seen.error = Reject("no such deal")
    send(shop, "update 1", "update 1", "update 1")
    shop.start(**ROOMY)
    shop.let(3)

    assert len(shop.dead()) == 1
    assert shop.dead()[0].offset == 0
    assert shop.committed() == 3


def test_folding_goes_on_through_a_failure(shop: Shop) -> None:
    seen = Seen(shop, "ONCRMDEAL*")
    seen.error = ConnectionError("down")
    shop.start(memory_tries=5, **ROOMY)
    send(shop, "update 1", "update 1")
    shop.let(0.1)
    send(shop, "update 1")
    seen.error = None
    shop.let(20)

    assert sum(1 + folded for *_, folded in seen.events) == 3
    assert seen.events[-1][2] == 0 and len(seen.events) <= 2


def test_a_portal_that_was_down_for_hours_ends_with_one_call_for_each_object(shop: Shop) -> None:
    seen = Seen(shop, "ONCRMDEAL*")
    seen.error = ConnectionError("the API is down")
    worker = shop.start(max_held_records=20_000)
    for _ in range(20):
        send(shop, *(f"update {deal * deal % 101}" for deal in range(150)))
        shop.let(60)
    assert shop.committed() == 3000
    seen.error = None
    shop.let(200)

    objects = {deal * deal % 101 for deal in range(150)}
    # The one with which it is tried whether the portal is well again, and what is handled while the others are loaded.
    assert len(seen.events) <= len(objects) + 60
    assert {deal for _, deal, _, _ in seen.events} == objects
    assert worker._held.records == worker._attendant.room.records == 0
    assert not any(one.parking and one.parking.portals for one in worker.ownership)


def test_batches_of_the_last_about_each_object(shop: Shop) -> None:
    folded: list[list[int]] = []

    @shop.on("ONCRMDEAL*", coalesce="entity", batch=3)
    async def handler(events: list[PortalEvent]) -> None:
        folded.append([one.folded for one in events])

    send(shop, *(f"update {deal}" for deal in (1, 2, 1, 3, 4, 2, 1)))
    shop.start(**ROOMY)
    shop.let(3)

    assert shop.calls == [[1, 2, 3], [4]]
    assert folded == [[2, 1, 0], [0]]
    assert shop.committed() == 7


@pytest.mark.parametrize("coalesce", ["entity", lambda event: "all of them"], ids=["entity", "function"])
def test_a_replayed_event_is_handled_by_itself(shop: Shop, coalesce: Any) -> None:
    seen = Seen(shop, "ONCRMDEAL*", coalesce=coalesce)
    seen.error = Reject("a bug")
    shop.start(**ROOMY)
    for _ in range(3):
        send(shop, "update 1")
        shop.let(1)
    assert len(shop.dead()) == 3
    seen.error = None
    shop.world.order(What.REPLAY, PORTAL, stream=names.dead(TOPIC), spans=((0, 3),))
    shop.let(10)

    assert [folded for *_, folded in seen.events] == [0, 0, 0]


def test_what_was_folded_is_not_handled_again_behind_the_last_when_an_operator_holds_the_portal(shop: Shop) -> None:
    seen = Seen(shop, "ONCRMDEAL*")
    seen.error = ConnectionError("down")
    shop.start(memory_tries=1, park_first_s=10, park_longest_s=10, **ROOMY)
    send(shop, "update 2")
    shop.let(2)
    send(shop, *["update 1"] * 6)
    shop.let(2)
    seen.error, seen.takes_s = None, 6
    while not seen.events:
        shop.let(0.5)
    # Parked records are loaded by now, and those between the first and the last are let go of.
    shop.let(3)
    shop.world.order(What.HOLD, PORTAL)
    shop.let(20)
    shop.world.order(What.RESUME, PORTAL)
    shop.let(60)

    assert [number for _, deal, number, _ in seen.events if deal == 1] == [5]


def test_the_number_of_those_folded_outlives_parking_and_a_restart(shop: Shop) -> None:
    seen = Seen(shop, "ONCRMDEAL*", rate="1/min", burst=1)
    send(shop, "add 0", *["update 1"] * 30, "add 2")
    worker = shop.start(**ROOMY)
    shop.let(10)
    assert any(one.parking and one.parking.portals for one in worker.ownership)
    shop.world.stop(worker)
    shop.start(**ROOMY)
    shop.let(10)
    send(shop, *["update 1"] * 5)
    shop.let(300)

    assert [(deal, folded) for _, deal, _, folded in seen.events] == [(0, 0), (1, 34), (2, 0)]
