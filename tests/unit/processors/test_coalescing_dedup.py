"""Coalescing of events of which none is to be handled twice: all that one stood for are marked."""

from collections.abc import Container
from typing import Any

import pytest

from forebay import PortalEvent
from forebay.processors.dedup.marks import MarksInMemory
from tests.parking.moody import TOPIC
from tests.parking.shop import PORTAL, Shop, id_of

#: What a lane may hold in memory here is more than these tests send.
ROOMY: dict[str, Any] = {"max_lane_records": 10_000, "max_held_records": 10_000}


def number_of(event: PortalEvent) -> int:
    data: Any = event.data
    return int(data["FIELDS"]["N"])


def seen_with(shop: Shop, dedup: Any, failing: Container[int] = ()) -> list[tuple[int, int]]:
    """What a handler of deals is given: the number of the event, and how many were folded into it."""
    shop.world.marks = MarksInMemory()
    seen: list[tuple[int, int]] = []

    @shop.on("ONCRMDEAL*", coalesce="entity", dedup=dedup)
    async def handle(event: PortalEvent) -> None:
        if id_of(event) in failing:
            raise ConnectionError("not now")
        seen.append((number_of(event), event.folded))

    return seen


def test_of_what_was_handled_as_one_nothing_is_handled_again_when_the_last_comes_later_than_the_others(
    shop: Shop,
) -> None:
    seen = seen_with(shop, "id")
    for number in range(4):
        shop.send("ONCRMDEALUPDATE", 1, N=number)
    worker = shop.start(commit_interval_s=30, **ROOMY)
    shop.let(2)
    assert seen == [(3, 3)]
    assert shop.committed() == 0
    shop.world.kill(worker, 0)
    last = shop.world.queue.logs[TOPIC][shop.world.partition(PORTAL)].pop()
    shop.start(**ROOMY)
    shop.let(5)
    shop.put(last.value)
    shop.let(5)

    assert seen == [(3, 3)]
    assert shop.committed() == 4


def about(event: PortalEvent) -> str | None:
    """As what an event is marked: its number. There is none for some, and of some nobody can say."""
    number = number_of(event)
    if number == 2:
        raise KeyError("no such field")
    return None if number == 1 else str(number)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_what_was_not_handled_yet_is_not_lost_when_it_is_folded_into_a_duplicate(shop: Shop, number: int) -> None:
    seen = seen_with(shop, about)
    shop.send("ONCRMDEALUPDATE", 1, N=7)
    worker = shop.start(**ROOMY)
    shop.let(3)
    shop.world.stop(worker)
    for one in (number, 7):
        shop.send("ONCRMDEALUPDATE", 1, N=one)
    shop.start(**ROOMY)
    shop.let(3)

    assert seen == [(7, 0), (7, 1)]
    assert shop.committed() == 3


def test_what_was_parked_with_a_duplicate_and_not_handled_yet_is_not_lost(shop: Shop) -> None:
    failing: set[int] = set()
    seen = seen_with(shop, about, failing)
    shop.send("ONCRMDEALUPDATE", 1, N=7)
    worker = shop.start(**ROOMY)
    shop.let(3)
    shop.world.stop(worker)
    failing.add(9)
    shop.send("ONCRMDEALUPDATE", 9, N=9)
    for number in (7, 0, 7):
        shop.send("ONCRMDEALUPDATE", 1, N=number)
    shop.start(memory_tries=1, park_first_s=10, park_longest_s=10, **ROOMY)
    shop.let(5)
    failing.clear()
    shop.let(30)

    assert seen == [(7, 0), (9, 0), (7, 2)]
    assert shop.committed() == 5
