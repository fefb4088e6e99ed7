"""What operators order about partitions, while a part of the queue that keeps the orders of others is away."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from forebay import Handlers, PortalEvent
from forebay.processors.parking.orders import Order, What, written
from forebay.processors.worker import Worker
from forebay.queues.contract import Bounds
from forebay.queues.errors import QueueUnavailable
from forebay.schemas import names
from forebay.schemas.portal import partition_of
from tests.integration.processors.conftest import PARTITIONS, TOPIC
from tests.waiting import until

#: The partition of which nothing is told.
AWAY = 1
PORTALS = [f"portal-{number}.bitrix24.example" for number in range(40)]
NEAR, FAR = (
    next(one for one in PORTALS if (partition_of(one, PARTITIONS) == AWAY) is is_away) for is_away in (False, True)
)

TOLD = {"state": "degraded", "why": f"operators' orders about partitions {AWAY} can't be read; trying again"}


@pytest.fixture
async def back() -> asyncio.Event:
    """Set while the part is there: at first, and when it is back."""
    there = asyncio.Event()
    there.set()
    return there


@pytest.fixture
async def worker(station: Any, handlers: Handlers, back: asyncio.Event) -> Worker:
    """A worker that began with all partitions; while one is away, nobody answers a question about it alone."""

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        pass

    made: Worker = station.start()
    made._attendant._every_s = 0.01
    await until(lambda: len(parkings(made)) == PARTITIONS)
    made._attendant._inspector.bounds = partial(  # type: ignore[method-assign]  # a part that is away
        bounds, made._attendant._inspector.bounds, back
    )
    return made


async def bounds(
    ask: Callable[..., Awaitable[dict[int, Bounds]]],
    back: asyncio.Event,
    stream: str,
    only: Collection[int] | None = None,
) -> dict[int, Bounds]:
    if only is not None and AWAY in only and not back.is_set():
        if len(only) == 1:
            await back.wait()
        else:
            raise QueueUnavailable("who keeps one of them does not answer")
    return await ask(stream, only)


def parkings(worker: Worker) -> dict[int, Any]:
    return {one.number: one.parking for one in worker.ownership if one.parking is not None and one.parking.is_ready}


def is_held(worker: Worker, portal: str) -> bool:
    found = parkings(worker)[partition_of(portal, PARTITIONS)].portals.get(portal)
    return found is not None and found.state.is_held


async def hold(station: Any, portal: str) -> None:
    made = Order(
        portal=portal,
        what=What.HOLD,
        stream=names.parked(TOPIC),
        group="forebay",
        who="somebody",
        why="a test",
        at_ms=int(time.time() * 1000),
    )
    await station.queue.producer().send(names.audit(TOPIC), written(made))


async def test_orders_about_the_others_are_obeyed(station: Any, worker: Worker, back: asyncio.Event) -> None:
    with capture_logs() as logs:
        back.clear()
        await hold(station, NEAR)
        await hold(station, FAR)
        await until(lambda: is_held(worker, NEAR))
        await until(lambda: worker.health.parts()["parking"] == TOLD)
        was_held = is_held(worker, FAR)
        back.set()
        await until(lambda: is_held(worker, FAR))
        await until(lambda: worker.health.parts()["parking"] == {"state": "ok", "why": ""})

    assert not was_held
    [log] = [log for log in logs if "orders can't be read" in log["event"]]
    assert log["error"] == "who keeps one of them does not answer"


async def test_a_worker_that_stops_meanwhile_waits_for_no_answer(
    station: Any, worker: Worker, back: asyncio.Event
) -> None:
    back.clear()
    await until(lambda: AWAY in worker._attendant._following._asked and worker._attendant._following.trouble)

    assert await station.stop(worker) == 0
