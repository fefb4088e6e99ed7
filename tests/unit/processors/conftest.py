"""What the tests of processors share."""

from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import pytest

from tests.parking.life import OTHER, OTHERS, PORTAL, Life
from tests.parking.shop import Shop
from tests.parking.world import World

from .places import Place, placed


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.world.close()


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with placed() as made:
        yield made


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


@pytest.fixture
def life(monkeypatch: pytest.MonkeyPatch) -> Iterator[Life]:
    """Behind other events, four of the portal are handled, and four are parked; no worker runs."""
    monkeypatch.setattr("forebay.processors.intake._FETCH_RECORDS", 1)
    with closing(Life()) as made:
        worker = made.start()
        made.send(OTHER, OTHERS)
        made.send(PORTAL, 4)
        made.let(3)
        made.failing.add(PORTAL)
        made.send(PORTAL, 4)
        made.let(30)
        made.stop(worker)
        made.failing.clear()
        assert made.of(PORTAL) == [1, 2, 3, 4]
        yield made
