"""A group whose queue has lost what it had read, and writes it anew, while portals of it are parked."""

import pytest

from forebay.processors.parking.orders import What
from forebay.processors.worker import Worker
from tests.parking.life import OTHER, OTHERS, PORTAL, Life
from tests.parking.moody import TOPIC


async def rewritten(worker: Worker, partition: int, offset: int) -> None:
    """What the queue says of what it has lost."""
    worker.ownership.rewritten(partition, offset)


@pytest.mark.parametrize(("is_free", "is_held"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("is_told_early", [False, True])
@pytest.mark.parametrize("another_follows", [False, True])
def test_what_stands_where_parked_events_were_lost_is_handled(
    life: Life, is_free: bool, is_held: bool, is_told_early: bool, another_follows: bool
) -> None:
    number, log = life.partition(PORTAL), life.queue.logs[TOPIC][life.partition(PORTAL)]
    # What is parked now can't be committed before the other portal's event is done.
    life.takes_s[OTHER] = 50.0
    life.send(OTHER, 1)
    life.failing.add(PORTAL)
    life.send(PORTAL, 4)
    dying = life.start()
    life.let(5)
    life.kill(dying, 0)
    assert life.commits()[number].offset == OTHERS + 8
    life.failing.clear()
    if is_free:
        life.kill(life.start_without_room(40), 0)
    waited = [5, 6, 7, 8, 9, 10, 11, 12]
    assert life.of(PORTAL)[4:] == (waited if is_free else [])
    # The last two, and others are in their place.
    del log[-2:]
    life.send(PORTAL, 3)
    if is_held:
        life.order(What.HOLD, PORTAL)

    life.feel("waits" if is_told_early else "takes")
    worker = life.start_without_room(0.5)
    life.run(rewritten(worker, number, OTHERS + 11))
    life.feel("takes")
    life.let(5)
    if another_follows:
        life.kill(worker, 0)
        life.start()
    life.order(What.RESUME, PORTAL)
    life.let(120)

    assert life.of(PORTAL)[4:] == [*waited, 13, 14, 15]
    assert life.commits()[number].offset == OTHERS + 14


def test_of_a_group_that_was_moved_back_all_comes_again_though_an_end_was_lost_behind_its_place(life: Life) -> None:
    life.move(OTHERS)
    life.feel("waits")
    worker = life.start()
    life.let(1)
    life.run(rewritten(worker, life.partition(PORTAL), OTHERS + 7))
    life.feel("takes")
    life.let(60)

    assert life.of(PORTAL) == [5, 6, 7, 8, *range(1, 9)]
