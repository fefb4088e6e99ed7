"""Every queue in one table, measured beside each other: `make bench-queues`. docs/queues.md has the last one."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from uuid import uuid4

import pytest

from forebay.processors.testing import event
from forebay.queues.contract import Consumer, Producer, Record
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.schemas.codec import codec
from tests.benchmarks.queues import BASELINE, QUEUES, Fresh
from tests.benchmarks.traffic import HEADERS, NS_A_MS, PARTITIONS, PORTALS, Owner, drain, send_all

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

#: So many times all of them, one after the other; the middle one counts.
ROUNDS = 3
#: Before anything is measured: what is opened first is slower than what comes next.
WARM = 1_000
MANY, AT_ONCE, ALONE = 15_000, 64, 300

#: No two events are alike: brokers that pack what repeats itself would look smaller than they are.
_RANDOM = random.Random(7)
VALUES = [
    codec().encode(
        event(
            "ONCRMDEALUPDATE",
            data={"FIELDS": {"ID": str(number)}},
            fields={f"auth[field{field}]": f"{_RANDOM.getrandbits(128):032x}" for field in range(5)},
        )
    )
    for number in range(MANY)
]


def varied(number: int) -> Record:
    """Some 650 bytes, and its headers."""
    key = f"portal{number % PORTALS}.bitrix24.ru"
    value = VALUES[number % MANY]
    return Record(key=key, value=value, timestamp_ms=time.time_ns() // NS_A_MS, headers=HEADERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A queue in one round; seconds."""

    rate: float
    acknowledged_p99: float
    fetched_p99: float
    alone_p50: float
    alone_p99: float
    #: 0 where nothing is on disk, or it can't be seen.
    bytes: float


@asynccontextmanager
async def parts(url: str, stream: str) -> AsyncIterator[tuple[Producer, Consumer]]:
    """One producer, and one consumer that has every partition."""
    queue = open_queue(QueueSettings(queue_url=url, topic=stream))
    await queue.ensure([stream], PARTITIONS)
    producer, consumer, owner = queue.producer(), queue.consumer(stream, f"{stream}-group"), Owner()
    await consumer.start(owner)
    await owner.all.wait()
    yield producer, consumer
    for part in (consumer, producer, queue):
        await part.close()


async def _measure(fresh: Fresh, request: pytest.FixtureRequest, folder: Path) -> Measured:
    stream = f"events-{uuid4().hex[:12]}"
    folder.mkdir()
    with fresh(request, folder, stream) as place:
        before = place.bytes_on_disk()
        async with parts(place.url, stream) as (producer, consumer):
            await asyncio.gather(send_all(producer, stream, AT_ONCE, WARM, varied), drain(consumer, WARM))
            started = time.perf_counter()
            acknowledged, fetched = await asyncio.gather(
                send_all(producer, stream, AT_ONCE, MANY, varied), drain(consumer, MANY)
            )
            seconds = time.perf_counter() - started
            _, alone = await asyncio.gather(send_all(producer, stream, 1, ALONE, varied), drain(consumer, ALONE))
        # Closed, a file has what stood in its log.
        grown = place.bytes_on_disk() - before
    return Measured(
        rate=MANY / seconds,
        acknowledged_p99=_at(acknowledged, 99),
        fetched_p99=_at(fetched, 99),
        alone_p50=_at(alone, 50),
        alone_p99=_at(alone, 99),
        bytes=grown / (WARM + MANY + ALONE),
    )


def _at(took: list[float], percent: int) -> float:
    return took[len(took) * percent // 100]


async def test_every_queue_beside_the_others(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    found: dict[str, list[Measured]] = {}
    absent: dict[str, str] = {}
    for number in range(ROUNDS):
        for name, fresh in QUEUES.items():
            if name in absent:
                continue
            try:
                found.setdefault(name, []).append(await _measure(fresh, request, tmp_path / f"{number}-{name}"))
            except pytest.skip.Exception as reason:
                absent[name] = str(reason)

    _tell(found, absent)
    assert found[BASELINE]


def _tell(found: dict[str, list[Measured]], absent: dict[str, str]) -> None:
    print(
        f"\n\n| | events/s, sent and fetched | × {BASELINE} | acknowledged p99 | fetched p99 | alone p50, p99 | bytes |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, rounds in found.items():
        if not rounds:
            continue
        ratio = median(one.rate / base.rate for one, base in zip(rounds, found[BASELINE], strict=True))
        rate, size = median(one.rate for one in rounds), median(one.bytes for one in rounds)
        ms = [
            1000 * median(getattr(one, what) for one in rounds)
            for what in ("acknowledged_p99", "fetched_p99", "alone_p50", "alone_p99")
        ]
        print(
            f"| {name} | {rate:,.0f} | {ratio:.2f} | {ms[0]:.1f} ms | {ms[1]:.0f} ms | {ms[2]:.0f} ms, {ms[3]:.0f} ms "
            f"| {f'{size:,.0f}' if size else '-'} |"
        )
    for name, reason in absent.items():
        print(f"{name} is not in it: {reason}")
