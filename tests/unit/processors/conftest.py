"""What the tests of processors share."""

from collections.abc import Iterator

import pytest

from tests.parking.shop import Shop


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.world.close()
