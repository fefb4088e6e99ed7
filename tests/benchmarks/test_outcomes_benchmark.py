"""What dedup and processes cost, against a handler with no option.

    pytest tests/benchmarks/test_outcomes_benchmark.py -m benchmark -s

The memory queue costs little, so what is seen is the worker. Compare the ratios: rates are the machine's.
"""

import resource
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import uvloop

from forebay import Handlers, PortalEvent
from forebay.processors.dedup.database import MarksInDatabase
from forebay.processors.dedup.marks import Marks, MarksInMemory
from forebay.processors.settings import WorkerSettings
from forebay.processors.worker import Worker
from forebay.queues.sql.opening import open_database
from tests.benchmarks.one_worker import filled, run_through
from tests.cpu import work

RECORDS = 20_000
COMPUTING = 8_000

#: Of several rounds the quickest: what else the machine does only ever adds.
ROUNDS = 3

_ids = count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Records a second, and microseconds of CPU for one: of the worker, and of its processes."""

    rate: float
    worker_us: float
    processes_us: float


async def trivial(event: PortalEvent) -> None:
    """What costs nothing, and never waits."""
    assert event


def in_thread(event: PortalEvent) -> None:
    """The same in a thread."""
    assert event


def always_new(event: PortalEvent) -> str:
    """No two events are the same: each is looked up in vain, and marked."""
    return str(next(_ids))


async def measured(records: int, handler: Callable[[Any], Any], marks: Marks | None = None, **options: Any) -> Cost:
    queue, handlers = await filled(records), Handlers()
    handlers.on("*", **options)(handler)
    settings = WorkerSettings(concurrency=256, commit_interval_s=0.1, cpu_processes=2)
    worker = Worker(settings, handlers, queue, marks=marks or MarksInMemory())
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    rate, worker_us = await run_through(worker, queue, records)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    children = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(rate=rate, worker_us=worker_us, processes_us=children / records * 1e6)


def best(run: Callable[[], Coroutine[Any, Any, Cost]]) -> Cost:
    return min((uvloop.run(run()) for _ in range(ROUNDS)), key=lambda cost: cost.worker_us + cost.processes_us)


def show(name: str, cost: Cost, base: Cost) -> None:
    print(
        f"{name:42}{cost.rate:12,.0f}/s{cost.worker_us:10.1f} µs{cost.worker_us / base.worker_us:8.1f}×"
        f"{cost.processes_us:12.1f} µs"
    )


@pytest.mark.benchmark
@pytest.mark.timeout(900)
def test_cost_of_dedup_and_of_processes(tmp_path: Path, postgresql_url: str) -> None:
    def database(url: str) -> Callable[[], Coroutine[Any, Any, Cost]]:
        # The worker closes its marks.
        return lambda: measured(RECORDS, trivial, MarksInDatabase(open_database(url)), dedup=always_new)

    base = best(lambda: measured(RECORDS, trivial))
    rows: list[tuple[str, Callable[[], Coroutine[Any, Any, Cost]]]] = [
        ("dedup, marks in memory", lambda: measured(RECORDS, trivial, dedup=always_new)),
        ("dedup, marks in SQLite", database(f"sqlite:///{tmp_path}/dedup.db")),
        ("dedup, marks in PostgreSQL", database(postgresql_url)),
        ("def, in threads", lambda: measured(RECORDS, in_thread)),
        ("def, cpu=True, two processes", lambda: measured(RECORDS, work.nothing, cpu=True)),
    ]

    print(f"\n{RECORDS:,} events of 1,000 portals, 256 at once")
    print(f"{'options':42}{'events':>14}{'worker, each':>13}{'of none':>9}{'processes, each':>15}")
    show("none", base, base)
    for name, run in rows:
        show(name, best(run), base)
    assert base.rate > 0


@pytest.mark.benchmark
@pytest.mark.timeout(900)
def test_what_processes_gain_where_handlers_compute() -> None:
    thread = uvloop.run(measured(COMPUTING, work.compute))
    process = uvloop.run(measured(COMPUTING, work.compute, cpu=True))

    print(f"\n{COMPUTING:,} events whose handlers compute for about 2 ms each")
    print(f"def, in threads: {thread.rate:,.0f}/s; cpu=True, two processes: {process.rate:,.0f}/s", end=" ")
    print(f"({process.rate / thread.rate:.1f}×)")
    assert process.rate > 0
