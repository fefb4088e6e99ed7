"""A worker on a queue in memory, and what a record costs it."""

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Any

from forebay import Handlers
from forebay.processors.settings import WorkerSettings
from forebay.processors.testing import event
from forebay.processors.worker import Worker
from forebay.queues.contract import Record
from forebay.queues.memory import MemoryQueue
from forebay.schemas import names
from forebay.schemas.codec import codec
from forebay.schemas.names import streams

TOPIC = "bitrix24.events"
PORTALS = 1000

#: Of every event: nobody looks at it here.
EVENT_ID = "0198a6a0-0000-7000-8000-000000000000"


def values(portals: int) -> list[tuple[str, bytes]]:
    """One record a portal, with the sixteen or so pairs of an application's event."""
    more = {f"auth[field{number}]": "v" * 24 for number in range(8)}
    made = (
        event("ONCRMDEALADD", data={"FIELDS": {"ID": n}}, portal=f"p{n}.bitrix24.ru", fields=more, id=EVENT_ID)
        for n in range(portals)
    )
    return [(one.portal, codec().encode(one)) for one in made]


def headers_of(portal: str) -> tuple[tuple[str, bytes], ...]:
    """What the ingest puts beside an event, in its order."""
    return (
        ("ce_specversion", b"1.0"),
        (names.CE_ID, EVENT_ID.encode()),
        (names.CE_SOURCE, b"//" + portal.encode()),
        (names.CE_TYPE, b"com.bitrix24.event.ONCRMDEALADD"),
        ("content-type", b"application/avro"),
    )


async def filled(records: int, portals: int = PORTALS, *, with_headers: bool = False) -> MemoryQueue:
    """So many records in twelve partitions, the portals one after the other."""
    queue, ready, now = MemoryQueue(), values(portals), int(time.time() * 1000)
    await queue.ensure(streams(TOPIC), 12)
    producer = queue.producer()
    for number in range(records):
        portal, value = ready[number % portals]
        headers = headers_of(portal) if with_headers else ()
        await producer.send(TOPIC, Record(key=portal, value=value, timestamp_ms=now, headers=headers))
    return queue


async def measured(
    records: int,
    handler: Callable[[Any], Any],
    concurrency: int,
    *,
    portals: int = PORTALS,
    with_headers: bool = False,
    wanted: str = "*",
    **options: Any,
) -> tuple[float, float]:
    """Records a second, and microseconds of CPU for one, where the handler wants these and has these options."""
    queue, handlers = await filled(records, portals, with_headers=with_headers), Handlers()
    handlers.on(wanted, **options)(handler)
    settings: dict[str, Any] = {"concurrency": concurrency, "commit_interval_s": 0.1}
    return await run_through(Worker(WorkerSettings(**settings), handlers, queue), queue, records)


async def run_through(worker: Worker, queue: MemoryQueue, records: int) -> tuple[float, float]:
    """Let it handle so many records; how many a second, and microseconds of CPU for one."""
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
    """Microseconds of CPU for the head of one record."""
    ready = [value for _, value in values(PORTALS)]
    began = time.process_time()
    for _ in range(30):
        for value in ready:
            codec().decode(value)
    return (time.process_time() - began) / 30 / PORTALS * 1e6
