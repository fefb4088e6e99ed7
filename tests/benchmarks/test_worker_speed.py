"""Records a second that one worker handles, beside the cost of nothing but decoding their heads.

    pytest tests/benchmarks/test_worker_speed.py -s

The memory queue costs little, so what is seen is the worker. Compare the ratios: rates are the machine's.
"""

import asyncio
import gc
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

TOPIC = "bitrix24.events"
PORTALS = 1000


def values(portals: int) -> list[tuple[str, bytes]]:
    """One record a portal, with the sixteen or so pairs of an application's event."""
    more = {f"auth[field{number}]": "v" * 24 for number in range(8)}
    made = (
        event("ONCRMDEALADD", data={"FIELDS": {"ID": 7}}, portal=f"p{n}.bitrix24.ru", fields=more)
        for n in range(portals)
    )
    return [(one.portal, codec().encode(one)) for one in made]


async def filled(records: int) -> MemoryQueue:
    queue, ready, now = MemoryQueue(), values(PORTALS), int(time.time() * 1000)
    await queue.ensure(streams(TOPIC), 12)
    producer = queue.producer()
    for number in range(records):
        portal, value = ready[number % PORTALS]
        await producer.send(TOPIC, Record(key=portal, value=value, timestamp_ms=now))
    return queue


async def measured(records: int, handler: Callable[[PortalEvent], Any], concurrency: int) -> tuple[float, float]:
    """Records a second, and microseconds of CPU for one."""
    queue, handlers = await filled(records), Handlers()
    handlers.on("*")(handler)
    settings: dict[str, Any] = {"concurrency": concurrency, "commit_interval_s": 0.1}
    worker = Worker(WorkerSettings(**settings), handlers, queue)
    gc.collect()
    gc.freeze()
    wall, cpu = time.perf_counter(), time.process_time()
    running = asyncio.create_task(worker.run())
    commits = queue.group_states[TOPIC, "forebay"].commits
    while sum(commit.offset for commit in commits.values()) < records:
        await asyncio.sleep(0.01)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    worker.stop()
    await running
    gc.unfreeze()
    return records / wall, cpu / records * 1e6


def decoding_us() -> float:
    ready = [value for _, value in values(PORTALS)]
    began = time.process_time()
    for _ in range(30):
        for value in ready:
            codec().decode(value)
    return (time.process_time() - began) / 30 / PORTALS * 1e6


async def trivial(event: PortalEvent) -> None:
    assert event.portal
    assert event.name


async def reads_data(event: PortalEvent) -> None:
    assert event.data


async def five_ms(event: PortalEvent) -> None:
    await asyncio.sleep(0.005)


def in_thread(event: PortalEvent) -> None:
    assert event.name


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("what", "handler", "records", "concurrency"),
    [
        ("a trivial handler", trivial, 100_000, 256),
        ("a handler that reads event.data", reads_data, 50_000, 256),
        ("a handler that waits 5 ms", five_ms, 60_000, 1000),
        ("a def, in threads", in_thread, 10_000, 256),
    ],
)
def test_records_a_second(what: str, handler: Callable[[PortalEvent], Any], records: int, concurrency: int) -> None:
    head_us = decoding_us()

    rate, cpu_us = uvloop.run(measured(records, handler, concurrency))

    print(f"\n{what}: {rate:,.0f}/s, {cpu_us:.1f} µs CPU, of which decoding the head {head_us:.1f}", end=" ")
    print(f"(ratio to decoding alone {cpu_us / head_us:.2f}); {PORTALS} portals, {concurrency} at once")
    assert rate > 0
