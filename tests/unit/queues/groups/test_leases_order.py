"""What becomes of a lease is known in one thread and told in another, and anything may come in between."""

from collections.abc import Iterator

import pytest

from .keeping import SESSION_S
from .worlds import World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    made.keeping.write(0, 3, 0)
    made.start(0.0)
    made.run(0.3)
    yield made
    made.close()


def test_nothing_is_given_out_of_a_lease_that_is_known_to_be_over_before_its_end_is_told(world: World) -> None:
    process = world.processes[0]
    process.begin(process.user.read(100, 0))
    process.loop.go_on()
    living, reading = process.threads
    while reading.is_ready:
        reading.go_on()

    # As when the process was stopped: the thread of the membership may be the first to go on.
    world.stand_still(2 * SESSION_S)
    while process.consumer._leases.held():
        living.go_on()
    assert process.user.held[0].place == 0
    for _ in range(3):
        process.loop.go_on()

    assert process.user.held[0].place == 0
    world.run(SESSION_S)
    assert [held.place for _, held in process.user.ever if held.is_lost] == [0, 0, 0]
