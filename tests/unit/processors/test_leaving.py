"""What comes and goes while a worker leaves."""

import asyncio
from contextlib import suppress

from forebay import PortalEvent
from forebay.processors.worker import Worker
from tests.parking.shop import Shop
from tests.parking.world import EACH, PARTITIONS, World

A, B = EACH

#: The grace of running handlers.
DRAIN_S = 25.0


def two_workers(world: World) -> list[Worker]:
    """Each has one partition: the first one A's, the second one B's."""
    workers = [world.start() for _ in range(PARTITIONS)]
    world.let(1)
    assert [[one.number for one in worker.ownership] for worker in workers] == [[0], [1]]
    return workers


def test_of_a_partition_that_comes_while_a_worker_leaves_nothing_is_begun(world: World) -> None:
    leaver, other = two_workers(world)
    world.failing.add(B)
    world.send(B, 3)
    world.let(3)
    world.takes_s.update({A: 20, B: 30})
    world.send(A, 1)
    world.let(1)

    leaving = world.leave(leaver)
    world.let(0.1)
    world.stop(other)
    world.failing.clear()
    # What is parked of B was due long ago, and so it is for who comes next.
    world.let(15)
    assert world.running == {A: 1, B: 0}
    world.let(10)
    assert leaving.result() == 0
    world.takes_s.clear()
    world.start()
    world.let(10)

    assert world.done == {A: [1], B: [1, 2, 3]}
    world.heal()
    world.judge()


def test_what_is_asked_back_while_a_worker_leaves_and_does_not_end_costs_no_other_its_last_commit(shop: Shop) -> None:
    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        if event.portal == B:
            # As one in a thread, whom only who asks twice leaves behind.
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(1000)
            await asyncio.sleep(1000)

    worker = shop.start(commit_interval_s=1000, deadline_s=2000, drain_s=DRAIN_S)
    shop.let(1)
    shop.send("ONAPPTEST", 1, portal=A)
    shop.send("ONAPPTEST", 1, portal=B)
    shop.let(1)
    leaving = shop.world.leave(worker)
    shop.let(DRAIN_S / 2)
    shop.start()
    shop.let(DRAIN_S / 2 + 2)

    assert leaving.result() == 0
    assert shop.committed() == 1
