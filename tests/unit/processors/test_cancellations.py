"""A handler may cancel its own task, at once or by what it leaves behind: that is nobody else's affair."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from forebay import PortalEvent, Reject
from forebay.processors.lanes import Lanes
from forebay.processors.notes import Note
from forebay.processors.partitions import Partition
from tests.parking.shop import Shop, id_of
from tests.unit.processors.test_lanes import record

#: Each has one try: whoever is blamed for another goes to the dead letters.
ONCE: dict[str, Any] = {"tries": 1}

SLOTS = 8


def cancel() -> None:
    """What `asyncio.timeout` and a group of tasks do, too."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def and_returns() -> None:
    cancel()


async def and_returns_later() -> None:
    await asyncio.sleep(0.1)
    cancel()


async def and_swallows_it() -> None:
    cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(1)


async def and_raises() -> None:
    cancel()
    raise ValueError("no")


async def and_raises_later() -> None:
    await asyncio.sleep(0.1)
    cancel()
    raise ValueError("no")


async def and_says_so() -> None:
    cancel()
    raise asyncio.CancelledError


async def and_waits() -> None:
    cancel()
    await asyncio.sleep(1)


async def and_rejects() -> None:
    cancel()
    raise Reject("no such deal")


Way = Callable[[], Awaitable[None]]


@pytest.mark.parametrize("options", [{}, {"batch": 1}, {"rate": "100/s"}, {"dedup": lambda event: None}], ids=list)
@pytest.mark.parametrize("way", [and_returns, and_returns_later, and_swallows_it])
def test_a_handler_that_cancels_its_task_and_returns_has_done_its_event(
    shop: Shop, way: Way, options: dict[str, Any]
) -> None:
    assert cancelled_at_2(shop, way, options) == []


@pytest.mark.parametrize("options", [{}, {"batch": 1}, {"rate": "100/s"}, {"dedup": lambda event: None}], ids=list)
@pytest.mark.parametrize("way", [and_raises, and_raises_later, and_says_so, and_waits, and_rejects])
def test_one_that_cancels_its_task_and_raises_or_waits_has_failed_and_no_other_has(
    shop: Shop, way: Way, options: dict[str, Any]
) -> None:
    assert cancelled_at_2(shop, way, options) == [2]


def cancelled_at_2(shop: Shop, way: Way, options: dict[str, Any]) -> list[int]:
    """The dead letters of three events, at the second of which the handler does that, while others' events wait."""

    @shop.on("ONCRM*", **options)
    async def cancels_itself(given: PortalEvent | list[PortalEvent]) -> None:
        event = given[0] if isinstance(given, list) else given
        if id_of(event) == 2:
            await way()
        else:
            await shop.nap(0.05 * (id_of(event) - 1))

    @shop.on("ONTASK*")
    async def handle(event: PortalEvent) -> None:
        await shop.nap(0.3)

    shop.send("ONCRMDEALADD", 1, 2, 3)
    for number in range(20):
        shop.send("ONTASKADD", 9, portal=f"p{number}.example")
    worker = shop.start(**ONCE)
    shop.let(10)

    assert not shop.world.workers[worker].done()
    assert sorted(shop.calls) == [[1], [2], [3], *[[9]] * 20]
    assert shop.committed() == 23
    return shop.dead_ids()


async def within_a_second() -> AsyncIterator[int]:
    async with asyncio.timeout(1):
        yield 1
        yield 2


def test_a_timeout_that_a_handler_leaves_behind_ends_nothing(shop: Shop) -> None:
    left: list[AsyncIterator[int]] = []

    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        left.append(within_a_second())
        async for _ in left[-1]:
            break

    for number in range(2 * SLOTS):
        shop.send("ONAPPTEST", 1, portal=f"p{number}.example")
    worker = shop.start(concurrency=SLOTS)
    shop.let(5)
    shop.send("ONAPPTEST", 2)
    shop.let(5)

    assert not shop.world.workers[worker].done()
    assert shop.calls == [*[[1]] * 2 * SLOTS, [2]]
    assert len(worker._slots._lanes._asleep) == SLOTS
    assert worker._slots._lanes._coming == 0


@pytest.mark.parametrize("seed", range(5))
def test_whenever_a_slot_is_cancelled_it_goes_on_and_no_portal_is_forgotten(shop: Shop, seed: int) -> None:
    source, slots = random.Random(seed), set[asyncio.Task[Any]]()

    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        task = asyncio.current_task()
        assert task is not None
        slots.add(task)
        # Computes, or waits.
        shop.world.loop.stand_still(source.choice((0, 0, 0.004)))
        await shop.nap(source.choice((0, 0.003, 0.1)))

    worker = shop.start(concurrency=SLOTS, tries=1_000, memory_tries=1_000, retry_first_s=0.01)
    for number in range(300):
        shop.send("ONAPPTEST", number, portal=f"p{source.randrange(30)}.example")
        shop.let(source.choice((0, 0, 0, 0.001, 0.05)))
        for task in source.sample(sorted(slots, key=id), min(len(slots), source.choice((0, 1, 3)))):
            task.cancel()
    shop.let(60)

    assert not shop.world.workers[worker].done()
    assert shop.committed() == 300
    assert len(worker._slots._lanes._asleep) == SLOTS
    assert worker._slots._lanes._coming == 0
    assert worker._held.records == 0


async def test_one_who_takes_lanes_and_is_cancelled_while_he_is_woken_takes_none_from_the_others() -> None:
    lanes, partition = Lanes(), Partition(0, 0, Note())
    first, second = (asyncio.create_task(lanes.take()) for _ in range(2))
    await asyncio.sleep(0)

    first.cancel()
    lanes.add(partition, [record("a", 0)])
    async with asyncio.timeout(5):
        taken = await second

    assert taken.portal == "a"
    assert first.cancelled()
