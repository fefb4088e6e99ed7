"""What the tests of processors share."""

from collections.abc import Iterator

import pytest

from tests.parking.shop import Shop
from tests.parking.world import World


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.world.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()
