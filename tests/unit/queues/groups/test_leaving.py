"""Who leaves a store that works is gone when its user has finished, whatever else goes on, and the others go on."""

from collections.abc import Iterator
from random import Random

import pytest

from .keeping import PARTITIONS, SESSION_S
from .processes import Process
from .worlds import World

#: In seconds: a look at the group, and what it finds is done.
_SOON_S = SESSION_S / 5


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    for number in PARTITIONS:
        made.keeping.write(number, 5, 0)
    yield made
    made.close()


def has_all(process: Process) -> bool:
    """Whether it goes on with every partition."""
    return all(process.user.epoch(number) is not None for number in PARTITIONS)


@pytest.mark.parametrize("seed", range(30))
def test_who_leaves_commits_last_and_nobody_waits_for_a_session_to_end(world: World, seed: int) -> None:
    random = Random(seed)
    for _ in range(2):
        world.start(0.0)
    world.run(random.choice((0.0, 0.3, 3.0)))
    leaver, other = world.processes
    world.run(SESSION_S, lambda: leaver.user.has_started and other.user.has_started)
    for _ in range(random.choice((0, 1, 3))):
        leaver.begin(leaver.user.read(2, random.choice((0, 0.3, 5))))
        leaver.begin(leaver.user.commit(list(leaver.user.held)))
    leaver.user.grace_s = random.choice((0.0, 0.3, 1.5))
    leaver.user.commits_last = random.choice(("and waits", "and goes"))
    before = dict(leaver.user.held)

    leaver.close_consumer()
    for _ in range(random.choice((0, 5, 20))):
        random.choice(leaver.ready() or other.ready() or [leaver.loop]).go_on()
    assert leaver.closing is not None
    assert world.run(leaver.user.grace_s + _SOON_S, leaver.closing.done)

    assert world.run(_SOON_S, lambda: has_all(other))
    for number, held in before.items():
        assert held.is_given_back
        assert other.user.held[number].place >= held.place
