"""Coalescing when workers die: whatever comes again, the newest event about an object is the last that is handled."""

from typing import Any

import pytest

from forebay import PortalEvent
from forebay.processors.worker import Worker
from forebay.queues.contract import Delivery, Record
from forebay.queues.errors import QueueUnavailable
from forebay.schemas import names
from tests.parking.moody import TOPIC, MoodyProducer
from tests.parking.shop import Shop, id_of


def number_of(event: PortalEvent) -> int:
    data: Any = event.data
    return int(data["FIELDS"]["N"])


def spill_no_more_than(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let the parked stream take so many more records that wait, and whatever is told of their portals."""
    usual, left = MoodyProducer.submit, [count]

    def submit(self: MoodyProducer, stream: str, record: Record, delivery: Delivery) -> None:
        if stream == names.parked(TOPIC) and dict(record.headers).get(names.PARKED_KIND) == b"spill":
            if not left[0]:
                raise QueueUnavailable("full")
            left[0] -= 1
        usual(self, stream, record, delivery)

    monkeypatch.setattr(MoodyProducer, "submit", submit)


class Flood:
    """Deal 1 changes before and after 60 others, all of which wait; and what the handler was given of them."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.takes_s, self.seen = shop, 5.0, list[tuple[int, int]]()
        shop.on("ONCRMDEAL*", coalesce="entity")(self.handle)
        shop.send("ONCRMDEALUPDATE", 1, *range(100, 160), N=0)
        for number in (1, 2, 3):
            shop.send("ONCRMDEALUPDATE", 1, N=number)

    async def handle(self, event: PortalEvent) -> None:
        await self.shop.nap(self.takes_s)
        self.seen.append((id_of(event), number_of(event)))

    @property
    def of_the_first(self) -> list[int]:
        return [number for deal, number in self.seen if deal == 1]

    def start(self) -> Worker:
        return self.shop.start(max_lane_records=5, max_held_records=2000)

    def end(self, worker: Worker) -> None:
        """The worker dies, and another one handles the rest."""
        self.shop.world.kill(worker, 0)
        self.takes_s = 0.0
        self.start()
        self.shop.let(60)
        assert {deal for deal, _ in self.seen} == {1, *range(100, 160)}
        assert self.shop.committed() == 64


def test_what_is_done_before_it_is_spilled_comes_again_with_what_was_folded_into_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    flood = Flood(shop)
    with monkeypatch.context() as patch:
        spill_no_more_than(patch, 50)
        worker = flood.start()
        shop.let(12)
    assert flood.of_the_first == [3]

    flood.end(worker)

    assert flood.of_the_first[-1] == 3


def test_what_was_done_before_it_was_spilled_does_not_come_again_when_that_could_be_told(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    flood = Flood(shop)
    with monkeypatch.context() as patch:
        spill_no_more_than(patch, 50)
        worker = flood.start()
        shop.let(6)
    assert flood.seen == [(1, 3)]
    # It is spilled now, while the next one is handled.
    shop.let(3)
    assert flood.seen == [(1, 3)]

    flood.end(worker)

    assert flood.of_the_first == [3]
