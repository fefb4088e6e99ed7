"""An event that ends its worker is given up, and everything else is handled."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from forebay import PortalEvent
from forebay.processors.parking.orders import What
from forebay.schemas import names
from tests.lives import Lives
from tests.parking.moody import TOPIC
from tests.parking.shop import PORTAL, Shop, id_of


class Deadly:
    """A shop in which the events with some ids end their worker."""

    def __init__(self, shop: Shop, folder: Path, *ids: int, **settings: object) -> None:
        self.shop, self.lives, self.ids, self.settings = shop, Lives(folder), set(ids), settings
        self.is_over = False

    async def handle(self, given: PortalEvent | list[PortalEvent]) -> None:
        for one in given if isinstance(given, list) else [given]:
            if id_of(one) in self.ids:
                self.is_over = True
                await asyncio.Event().wait()

    def live(self, lives: int = 20) -> int:
        """Start workers until one lives on; gives the number of those that were ended."""
        for ended in range(lives):
            self.is_over = False
            self.shop.world.caution = self.lives.begin()
            worker = self.shop.start(max_lane_records=1000, max_held_records=1000, **self.settings)
            for _ in range(40):
                if not self.is_over:
                    self.shop.let(0.5)
            if not self.is_over:
                return ended
            self.lives.end(lambda worker=worker: self.shop.world.kill(worker, 0))  # type: ignore[misc]
        pytest.fail("workers are ended for ever")


def test_the_one_event_of_a_list_that_ends_its_worker_is_given_up_and_the_others_are_handled(
    shop: Shop, tmp_path: Path
) -> None:
    deadly = Deadly(shop, tmp_path, 5)
    shop.on("ONTASK*", batch=4)(deadly.handle)
    shop.send("ONTASKADD", *range(12))
    shop.send("ONTASKADD", 20, 21, portal="other.example")

    assert deadly.live() == 5

    assert shop.dead_ids() == [5]
    assert counts_every_life(shop)
    assert shop.committed() == 14
    assert [8, 9, 10, 11] in shop.calls


def test_what_was_folded_into_an_event_that_ends_its_worker_is_finished_with_it(shop: Shop, tmp_path: Path) -> None:
    deadly = Deadly(shop, tmp_path, 7)
    shop.on("ONCRMDEAL*", coalesce="entity")(deadly.handle)
    shop.send("ONCRMDEALUPDATE", 7, 1, 7, 2, 7)

    deadly.live()

    assert shop.dead_ids() == [7]
    assert shop.committed() == 5
    assert [1] in shop.calls
    assert [2] in shop.calls


def test_what_ends_its_worker_half_an_hour_after_it_began_is_given_up_as_well(shop: Shop, tmp_path: Path) -> None:
    deadly = Deadly(shop, tmp_path, 1)
    # The first ends are forgotten by then.
    deadly.lives = Lives(tmp_path, take_s=1900)
    shop.on("*")(deadly.handle)
    shop.send("ONTASKADD", 1, 2)

    assert deadly.live() == 5

    assert shop.dead_ids() == [1]
    assert shop.committed() == 2


def test_with_give_up_hold_the_portal_is_held_and_a_resume_tries_it_anew(shop: Shop, tmp_path: Path) -> None:
    deadly = Deadly(shop, tmp_path, 1, give_up="hold")
    shop.on("*")(deadly.handle)
    shop.send("ONTASKADD", 1, 2)
    deadly.live()
    assert shop.dead_ids() == []
    assert shop.calls[-1] == [1]

    deadly.ids.clear()
    shop.world.order(What.RESUME, PORTAL)
    shop.let(10)

    assert shop.calls[-2:] == [[1], [2]]
    assert shop.committed() == 2


def test_a_replay_of_a_dead_letter_tries_it_anew(shop: Shop, tmp_path: Path) -> None:
    deadly = Deadly(shop, tmp_path, 1)
    shop.on("*")(deadly.handle)
    shop.send("ONTASKADD", 1, 2)
    deadly.live()
    assert shop.dead_ids() == [1]
    assert counts_every_life(shop)

    deadly.ids.clear()
    shop.world.order(What.REPLAY, PORTAL, names.dead(TOPIC), ((0, 1),))
    shop.let(10)

    assert shop.calls[-1] == [1]
    assert shop.dead_ids() == [1]


def test_an_event_that_first_waits_for_its_budget_is_given_up_as_soon(shop: Shop, tmp_path: Path) -> None:
    deadly = Deadly(shop, tmp_path, 1)
    shop.on("*", rate="2/s")(deadly.handle)
    shop.send("ONTASKADD", 1, 2)
    shop.send("ONTASKADD", 3, portal="other.example")

    assert deadly.live() == 5

    assert shop.dead_ids() == [1]
    assert shop.committed() == 3


def test_what_was_tried_alone_and_fails_is_tried_on_beside_the_others(shop: Shop, tmp_path: Path) -> None:
    deadly, deaths, tries = Deadly(shop, tmp_path, 1), 3, list[int]()

    async def handle(event: PortalEvent) -> None:
        if shop.calls.count([1]) > deaths:
            deadly.ids.clear()
        await deadly.handle(event)
        if id_of(event) == 1:
            tries.append(1)
            raise ValueError("it is not well yet")

    shop.on("*")(handle)
    shop.send("ONTASKADD", 1, 2)

    with capture_logs() as logs:
        assert deadly.live() == deaths
        shop.let(60)

    assert len(tries) > 2
    assert len([line for line in logs if line["event"].endswith("is tried with nothing beside it now")]) == 1


def counts_every_life(shop: Shop) -> bool:
    """Whether the dead letter has a try for each worker that its event has ended."""
    (letter,) = shop.dead()
    told = dict(letter.headers)
    return told[names.DEAD_ERROR].startswith(told[names.DEAD_ATTEMPTS] + b" workers were ended")
