"""A lane whose handlers look further than at its first event goes on, whatever happens to one of its events."""

from typing import Any

from forebay import PortalEvent, Reject
from tests.parking.shop import Shop, id_of

#: What a lane may hold in memory here is more than these tests send.
ROOMY: dict[str, Any] = {"max_lane_records": 10_000, "max_held_records": 10_000}


def test_an_event_that_is_given_up_is_in_hand_no_longer_when_its_portal_is_parked_for_having_many(shop: Shop) -> None:
    done: list[int] = []

    @shop.on("ONCRMDEALUPDATE", batch=10)
    async def listed(events: list[PortalEvent]) -> None:
        done.extend(map(id_of, events))

    @shop.on("ONTASK*")
    async def single(event: PortalEvent) -> None:
        if id_of(event) == 1:
            raise Reject("no such task")
        await shop.nap(8 if id_of(event) == 2 else 0)
        done.append(id_of(event))

    shop.send("ONCRMDEALUPDATE", 100)
    shop.send("ONTASKADD", *range(1, 30))
    worker = shop.start(max_lane_records=5, max_held_records=1000)
    shop.let(60)

    assert shop.dead_ids() == [1]
    assert done == [100, *range(2, 30)]
    assert shop.committed() == 30
    assert worker._held.records == 0
