"""A lane whose handlers look further than at its first event goes on, whatever happens to one of its events."""

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from structlog.testing import capture_logs

from forebay import PortalEvent, Reject
from forebay.processors.dedup.keys import Key
from forebay.processors.dedup.marks import MarksInMemory
from forebay.processors.handlers import Handler
from forebay.processors.outcome import Unlearned, Unprovable, Unread
from forebay.processors.proving import NotVerified
from forebay.processors.reading import Bulk, Reading
from forebay.queues.contract import StoredRecord
from tests.parking.shop import Shop, id_of

#: What a lane may hold in memory here is more than these tests send.
ROOMY: dict[str, Any] = {"max_lane_records": 10_000, "max_held_records": 10_000}

#: Why an event is not shown to its handler now, if it isn't.
WhyNot: TypeAlias = Callable[[PortalEvent], Unread | None]


def number_of(event: PortalEvent) -> int:
    data: Any = event.data
    return int(data["FIELDS"]["N"])


def read_unless(monkeypatch: pytest.MonkeyPatch, why_not: WhyNot) -> None:
    """Let events be read as ever, but for those of which this is said."""
    usual = Reading.read

    def read(
        self: Reading, record: StoredRecord, bulk: Bulk | None = None
    ) -> tuple[PortalEvent | Unread, Handler | None]:
        event, handler = usual(self, record, bulk)
        return (isinstance(event, PortalEvent) and why_not(event)) or event, handler

    monkeypatch.setattr(Reading, "read", read)


def seen_by(shop: Shop, **options: Any) -> list[tuple[int, int, int]]:
    """What a handler of deals is given: the deal, the number of the event, how many were folded into it."""
    seen: list[tuple[int, int, int]] = []

    @shop.on("ONCRMDEAL*", **options)
    async def handle(event: PortalEvent) -> None:
        seen.append((id_of(event), number_of(event), event.folded))

    return seen


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


@pytest.mark.parametrize("key", [["7"], 7, b"7"])
def test_a_coalesce_function_that_gives_no_text_is_told_and_folds_nothing(shop: Shop, key: Any) -> None:
    seen = seen_by(shop, coalesce=lambda event: key)
    shop.send("ONCRMDEALUPDATE", 1, 1, N=0)

    with capture_logs() as logs:
        shop.start(**ROOMY)
        shop.let(3)

    assert seen == [(1, 0, 0)] * 2
    told = [str(one["error"]) for one in logs if one["event"] == "not coalesced"]
    assert len(told) == 2 and all("must give a text, or None" in one for one in told)


def test_the_first_about_an_object_is_given_up_alone_and_not_finished_again_with_the_last(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: set[int] = set()

    def why_not(event: PortalEvent) -> Unread | None:
        is_refused = id_of(event) == 1 and number_of(event) in refused
        return Unprovable(event=event, error=NotVerified("its token was refused")) if is_refused else None

    read_unless(monkeypatch, why_not)
    seen = seen_by(shop, coalesce="entity", rate="1/s", burst=1)
    shop.send("ONCRMDEALUPDATE", 9, N=0)
    for number in range(4):
        shop.send("ONCRMDEALUPDATE", 1, N=number)
    shop.start(**ROOMY)
    shop.let(1.5)
    refused.add(0)
    shop.let(10)

    assert seen == [(9, 0, 0), (1, 3, 2)]
    assert shop.committed() == 5


def test_no_change_passes_an_event_that_can_t_be_read_yet(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = {1}

    def why_not(event: PortalEvent) -> Unread | None:
        return Unlearned(wait_s=0.5) if id_of(event) == 1 and number_of(event) in unknown else None

    read_unless(monkeypatch, why_not)
    seen = seen_by(shop, coalesce="entity", rate="1/s", burst=1)
    shop.send("ONCRMDEALUPDATE", 9, N=0)
    for number in range(4):
        shop.send("ONCRMDEALUPDATE", 1, N=number)
    shop.start(**ROOMY)
    shop.let(1.5)
    unknown.clear()
    shop.let(10)

    assert seen == [(9, 0, 0), (1, 0, 0), (1, 1, 0), (1, 3, 1)]
    assert shop.committed() == 5


@pytest.mark.parametrize("options", [{}, {"rate": "50/s"}, {"coalesce": "entity"}])
def test_a_fault_in_the_look_up_of_what_was_handled_is_a_failed_try(shop: Shop, options: dict[str, Any]) -> None:
    class Faulty(MarksInMemory):
        faults = 2

        async def seen(self, *keys: Key) -> bool:
            self.faults -= 1
            if self.faults >= 0:
                raise ValueError("a fault")
            return await super().seen(*keys)

    shop.world.marks = Faulty()
    seen = seen_by(shop, dedup="id", **options)
    shop.send("ONCRMDEALUPDATE", 1, 2, N=0)
    shop.start(**ROOMY)
    shop.let(30)

    assert [deal for deal, *_ in seen] == [1, 2]
    assert shop.committed() == 2
