"""What the options of handlers cost, and what they save.

    pytest tests/benchmarks/test_handlers_benchmark.py -m benchmark -s

The memory queue costs little, so what is seen is the worker. Compare the ratios: rates are the machine's.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from forebay import Handlers, PortalEvent
from forebay.processors.settings import WorkerSettings
from forebay.processors.testing import event
from forebay.processors.worker import Worker
from forebay.queues.contract import Record
from forebay.queues.memory import MemoryQueue
from forebay.schemas.codec import codec
from forebay.schemas.names import streams
from tests.benchmarks.one_worker import TOPIC, measured

#: A bulk edit of many portals at once: each has enough waiting for full batches.
RECORDS, PORTALS = 20_000, 50

#: Of several rounds the quickest: what else the machine does only ever adds.
ROUNDS = 2

CHANGES, DEALS = 10_000, 100


async def trivial(given: Any) -> None:
    """What costs nothing, and never waits."""
    assert given


async def waits(given: Any) -> None:
    """Another system is asked, as by nearly every handler."""
    await asyncio.sleep(0.005)


def in_thread(given: Any) -> None:
    """A `def`."""
    assert given


#: Each portal's events are about one object here, and adds, so that nothing folds.
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("none", {}),
    ("the handler wants other events", {"wanted": "ONTASKADD"}),
    ("batch=50", {"batch": 50}),
    ("batch=50, batch_wait_s=0.2", {"batch": 50, "batch_wait_s": 0.2}),
    ("coalesce, nothing to fold", {"coalesce": lambda event: None}),
    ("coalesce='entity', nothing to fold", {"coalesce": "entity"}),
    ("coalesce='entity', batch=50", {"coalesce": "entity", "batch": 50}),
    ("rate, never reached", {"rate": "1000000/s"}),
    ("batch=50 and rate, never reached", {"batch": 50, "rate": "1000000/s"}),
]


async def quick(handler: Callable[[Any], Any], options: dict[str, Any]) -> tuple[float, float]:
    """One round, with records as the ingest writes them."""
    return await measured(RECORDS, handler, 256, portals=PORTALS, with_headers=True, **options)


def cpu_us(handler: Callable[[Any], Any], options: dict[str, Any]) -> float:
    """Microseconds for one event."""
    return min(uvloop.run(quick(handler, options))[1] for _ in range(ROUNDS))


@pytest.mark.benchmark
def test_cost_of_each_option() -> None:
    print(f"\nµs CPU an event, {RECORDS:,} events of {PORTALS} portals")
    print(f"{'options':38}" + "".join(f"{one:>14}{'× none':>8}" for one in ("trivial", "waits 5 ms", "def")))
    base: list[float] = []
    for name, options in OPTIONS:
        costs = [cpu_us(handler, options) for handler in (trivial, waits, in_thread)]
        base = base or costs
        print(f"{name:38}" + "".join(f"{cost:14.1f}{cost / of:8.2f}" for cost, of in zip(costs, base, strict=True)))
        assert min(costs) > 0


async def bulk_edit(seconds: float, **options: Any) -> tuple[float, int, int]:
    """How long it took until all was handled, or so long; the calls, and how many events they were for."""
    queue, handlers, calls, events = MemoryQueue(), Handlers(), [0], [0]

    @handlers.on("ONCRMDEALUPDATE", **options)
    async def deal_changed(event: PortalEvent) -> None:
        calls[0] += 1
        events[0] += 1 + event.folded

    await queue.ensure(streams(TOPIC), 1)
    producer, portal = queue.producer(), "example.bitrix24.com"
    for number in range(CHANGES):
        changed = event("ONCRMDEALUPDATE", data={"FIELDS": {"ID": number * 31 % DEALS}}, portal=portal)
        record = Record(key=portal, value=codec().encode(changed), timestamp_ms=int(time.time() * 1000))
        await producer.send(TOPIC, record)
    worker = Worker(WorkerSettings(partitions=1), handlers, queue)
    running, began = asyncio.create_task(worker.run()), time.monotonic()
    while events[0] < CHANGES and time.monotonic() - began < seconds:
        await asyncio.sleep(0.05)
    took = time.monotonic() - began
    worker.stop()
    await running
    return took, calls[0], events[0]


@pytest.mark.benchmark
@pytest.mark.timeout(200)
def test_a_bulk_edit_of_a_hundred_deals_under_a_portal_s_limit() -> None:
    took, calls, events = uvloop.run(bulk_edit(120, coalesce="entity", rate="2/s"))
    without_s, without_calls, _ = uvloop.run(bulk_edit(20, rate="2/s"))

    expected_s = CHANGES / (without_calls / without_s)
    print(f"\n{CHANGES:,} changes of {DEALS} deals of one portal, 2 calls a second, coalesced:", end=" ")
    print(f"{took:.1f} s, {calls} calls; without: {without_calls} in {without_s:.0f} s, so {expected_s:,.0f} s")
    assert events == CHANGES
