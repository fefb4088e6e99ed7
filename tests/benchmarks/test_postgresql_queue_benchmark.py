"""The servers beside SQLite in the same run; and what load and long transactions make of PostgreSQL."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
import pytest

from forebay.queues.contract import Consumer, Producer, Queue
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.benchmarks.traffic import PARTITIONS, Owner, drain, send_all
from tests.mariadb import server as mariadb
from tests.memcached import server as memcached
from tests.postgresql.server import Server, fresh_database
from tests.redis import server as redis

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

STREAM = "bitrix24.events"
#: So many times both, one after the other; the middle one counts.
ROUNDS = 3
#: Records that are sent with so many calls at a time.
SENT = {1: 1_000, 8: 5_000, 64: 15_000, 512: 20_000}
SIZE = (
    "SELECT pg_total_relation_size('forebay_record') / 1e6, pg_total_relation_size('forebay_partition') / 1e3, "
    "pg_total_relation_size('forebay_claim') / 1e3"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Something that was done so often in so many seconds, of which so many were our own CPU; and its latencies."""

    what: str
    seconds: float
    cpu: float
    took: list[float]

    @property
    def rate(self) -> float:
        return len(self.took) / self.seconds


@contextmanager
def measured(what: str, into: list[Measured]) -> Any:
    took: list[float] = []
    started, cpu = time.perf_counter(), time.process_time()
    yield took
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    into.append(Measured(what=what, seconds=seconds, cpu=cpu, took=sorted(took)))


@asynccontextmanager
async def parts(url: str) -> AsyncIterator[tuple[Queue, Producer, Consumer]]:
    """A queue with one producer, and one consumer that has every partition."""
    queue = open_queue(QueueSettings(queue_url=url, topic=STREAM, retention_h=0))
    await queue.ensure([STREAM], PARTITIONS)
    producer, consumer, owner = queue.producer(), queue.consumer(STREAM, "bench"), Owner()
    await consumer.start(owner)
    await owner.all.wait()
    yield queue, producer, consumer
    for part in (consumer, producer, queue):
        await part.close()


async def _measure(url: str) -> list[Measured]:
    found: list[Measured] = []
    async with parts(url) as (_, producer, consumer):
        for concurrency, records in SENT.items():
            with measured(f"send, {concurrency} at a time", found) as took:
                took += await send_all(producer, STREAM, concurrency, records)
        with measured("fetch and commit what waits", found) as took:
            took += await drain(consumer, sum(SENT.values()))
        with measured("sent, fetched and committed, 64 at a time", found) as took:
            _, ages = await asyncio.gather(send_all(producer, STREAM, 64, 15_000), drain(consumer, 15_000))
            took += ages
        with measured("one alone, from send to fetch", found) as took:
            _, ages = await asyncio.gather(send_all(producer, STREAM, 1, 500), drain(consumer, 500))
            took += ages
    return found


async def test_postgresql_beside_sqlite(postgresql_servers: Callable[..., Server], tmp_path: Path) -> None:
    server = postgresql_servers()
    await _beside_sqlite(tmp_path, "PostgreSQL", lambda: fresh_database(server.url()))


async def test_mariadb_beside_sqlite(mariadb_servers: Callable[..., mariadb.Server], tmp_path: Path) -> None:
    server = mariadb_servers()
    await _beside_sqlite(tmp_path, "MariaDB", lambda: mariadb.fresh_database(server.url()))


async def test_redis_beside_sqlite(redis_servers: Callable[..., redis.RedisServer], tmp_path: Path) -> None:
    url = redis_servers("maxmemory 2gb").url()
    await _beside_sqlite(tmp_path, "Redis", lambda: _emptied(url, redis.empty))


async def test_memcached_beside_sqlite(
    memcached_servers: Callable[..., memcached.MemcachedServer], tmp_path: Path
) -> None:
    url = memcached_servers("-m", "1024").url()
    await _beside_sqlite(tmp_path, "Memcached", lambda: _emptied(url, memcached.empty))


@contextmanager
def _emptied(url: str, empty: Callable[[str], None]) -> Iterator[str]:
    empty(url)
    yield url


async def _beside_sqlite(folder: Path, system: str, fresh: Callable[[], AbstractContextManager[str]]) -> None:
    runs = []
    for number in range(ROUNDS):
        sqlite = await _measure(f"sqlite:///{folder}/{number}.db")
        with fresh() as url:
            runs.append((sqlite, await _measure(url)))

    print()
    for row in zip(*[list(zip(*run, strict=True)) for run in runs], strict=True):
        _tell(row, system)


def _tell(row: tuple[tuple[Measured, Measured], ...], system: str) -> None:
    sqlite, server = zip(*row, strict=True)
    ratio = median(theirs.rate / ours.rate for ours, theirs in row)
    cpu = median((theirs.cpu / len(theirs.took)) / (ours.cpu / len(ours.took)) for ours, theirs in row)
    told = [
        f"{median(one.rate for one in side):,.0f}/s p50 {median(_at(one, 50) for one in side):.1f} "
        f"p99 {median(_at(one, 99) for one in side):.1f} ms"
        for side in (sqlite, server)
    ]
    print(f"{row[0][0].what}: SQLite {told[0]}; {system} {told[1]}; rate × {ratio:.2f}, our CPU × {cpu:.2f}")


def _at(one: Measured, percent: int) -> float:
    return one.took[len(one.took) * percent // 100] * 1e3


async def _load(producer: Producer, consumer: Consumer, rounds: int, url: str, what: str) -> None:
    """Send, fetch and commit without a pause; tell after each round how fast it was, and how large the tables are."""
    for number in range(rounds):
        started = time.perf_counter()
        await asyncio.gather(send_all(producer, STREAM, 32, 20_000), drain(consumer, 20_000))
        rate = 20_000 / (time.perf_counter() - started)
        with psycopg.connect(url) as direct:
            records, partitions, claims = direct.execute(SIZE).fetchall()[0]
        sizes = f"records {records:.0f} MB, partitions {partitions:.0f} kB, claims {claims:.0f} kB"
        print(f"{what}, {20_000 * (number + 1):,} records: {rate:,.0f}/s, {sizes}")


async def test_the_tables_under_steady_load(postgresql_servers: Callable[..., Server]) -> None:
    url = postgresql_servers().url()
    print()
    async with parts(url) as (_, producer, consumer):
        # Retention comes once a minute, and autovacuum after it: it takes a few minutes until both are under way.
        await _load(producer, consumer, 60, url, "steady load")


async def test_the_tables_beside_a_long_transaction(postgresql_servers: Callable[..., Server]) -> None:
    url = postgresql_servers().url()
    print()
    async with parts(url) as (_, producer, consumer):
        await _load(producer, consumer, 2, url, "without")
        with psycopg.connect(url) as other:
            other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            other.execute("SELECT count(*) FROM forebay_partition")
            await _load(producer, consumer, 12, url, "beside a long transaction")
        await _load(producer, consumer, 3, url, "after it")
