"""Records a second that `forebay process` handles from a real Kafka, beside plain loops that read the same topic.

The broker shares the machine: compare the ratios. CPU is that of the reading process, with all its threads. A round has
every figure once, so that what else the machine does falls on each alike.
"""

import json
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median, quantiles
from threading import Thread
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, but in no __all__

from forebay.console.settings import load_settings
from forebay.queues.opening import open_queue
from tests.benchmarks.ingested import fill, ingested, pace
from tests.e2e.site import Site, open_site
from tests.kafka.fixtures import Kafka

#: On a machine that does other things too it takes minutes.
pytestmark = [pytest.mark.benchmark, pytest.mark.kafka, pytest.mark.timeout(1800)]

HERE = Path(__file__).parent
PARTITIONS, PORTALS, RECORDS, ROUNDS = 12, 1000, 400_000, 3
#: Setting `concurrency`: as many portals at once as there are.
AT_ONCE = 1000
#: As in timed_handlers.py.
WORK_S, LONG_WORK_S = 0.005, 0.05
#: The weight of a portal is its rank to the power of minus this.
ZIPF, ZIPF_RECORDS = 1.1, 12_000
PACED_RECORDS, PACED_RATE = 12_000, 1500.0
#: What came before the worker had joined is done so long after its first event.
CAUGHT_UP_S = 1.0
#: How much a Kafka client asks of one partition by default. Less at a time is of more partitions at once.
FETCHES: dict[str, dict[str, int]] = {"ours": {}, "the default": {"fetch.message.max.bytes": 1 << 20}}
SLOW_RECORDS = 200_000
#: Of portals that are parked, and tried again after up to half a minute.
PARKED_RECORDS = 60_000
MANY_PORTALS, FEW_PORTALS, MEMORY_RECORDS = 100_000, 100, 200_000
US, MS, P99 = 1_000_000, 1000, 98


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One reading of a topic, from its first record to its last."""

    records: int
    wall_s: float
    cpu_s: float
    peak_mb: float = 0.0

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.wall_s

    @property
    def cpu_us(self) -> float:
        """CPU microseconds for a record."""
        return self.cpu_s / self.records * US


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A broker, and a folder for what reads from it."""

    bootstrap: str
    folder: Path

    def topic(self) -> str:
        """A new one, which is empty."""
        name = f"events-{uuid4().hex}"
        with AdminClient({"bootstrap.servers": self.bootstrap}) as client:
            [made] = client.create_topics([NewTopic(name, PARTITIONS, 1)]).values()
            made.result(30)
        return name

    def filled(self, portals: Iterable[int]) -> str:
        """A new one, with an event of each of these portals."""
        fill(self.bootstrap, topic := self.topic(), portals)
        return topic

    def plain(self, how: str, topic: str, records: int = RECORDS) -> Run:
        """What plain_readers.py needs for it."""
        words = [str(HERE / "plain_readers.py"), how, self.bootstrap, topic, str(records)]
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        wall_s, cpu_s = map(float, done.stdout.split())
        return Run(records=records, wall_s=wall_s, cpu_s=cpu_s)

    async def worker(
        self,
        handlers: str,
        topic: str,
        records: int = RECORDS,
        meanwhile: Callable[[], None] = lambda: None,
        kafka: Mapping[str, int] | None = None,
    ) -> tuple[Run, Path]:
        """What a worker with these of timed_handlers.py needs for it, when every record is committed; and its site."""
        (folder := self.folder / uuid4().hex).mkdir()
        with open_site(folder) as site:
            site.settings |= {"queue_url": f"kafka://{self.bootstrap}", "topic": topic, "group": uuid4().hex}
            site.settings |= {"concurrency": str(AT_ONCE), "kafka": json.dumps(kafka or {})}
            shutil.copy(HERE / "timed_handlers.py", folder)
            (folder / "records").write_text(str(records))
            site.start("process", "process", f"timed_handlers:{handlers}")
            meanwhile()
            site.wait("the last record", lambda: len(marks(folder)) == 2)
            assert site.stop("process") == 0, site.log("process")
            assert await committed(site) == records
        (began, cpu_before, _), (ended, cpu_after, peak_kb) = marks(folder)
        run = Run(records=records, wall_s=ended - began, cpu_s=cpu_after - cpu_before, peak_mb=peak_kb / 1024)
        return run, folder


def marks(folder: Path) -> list[list[float]]:
    """The lines that the handlers wrote so far."""
    path = folder / "marks.log"
    return [[float(word) for word in line.split()] for line in path.read_text().splitlines()] if path.exists() else []


async def committed(site: Site) -> int:
    """How many records the site's group has finished."""
    names = ("queue_url", "topic", "group", "data_dir")
    settings = load_settings(options={name: site.settings[name] for name in names}, environ={}).settings
    queue = open_queue(settings)
    inspector = queue.inspector()
    found = (await inspector.groups(settings.topic))[settings.group]
    await inspector.close()
    await queue.close()
    return sum(one.offset for one in found.values())


def even(records: int, portals: int = PORTALS) -> list[int]:
    """Portals that all send the same, in turn."""
    return [number % portals for number in range(records)]


def zipf(records: int) -> list[int]:
    """Portals of which a few send most."""
    weights = [rank**-ZIPF for rank in range(1, PORTALS + 1)]
    return Random(1).choices(range(PORTALS), weights, k=records)


@pytest.fixture
def bench(kafka: Kafka, tmp_path: Path) -> Bench:
    return Bench(bootstrap=kafka.bootstrap, folder=tmp_path)


async def test_records_a_second_beside_plain_loops(bench: Bench) -> None:
    topic = bench.filled(even(RECORDS))
    rounds: list[dict[str, Run]] = []
    for _ in range(ROUNDS):
        found = {how: bench.plain(how, topic) for how in ("bare", "eager")}
        for handlers in ("trivial", "reads_data", "waits"):
            found[handlers], _ = await bench.worker(handlers, topic)
        rounds.append(found)

    size = len(ingested(1).value)
    print(f"\n{RECORDS:,} records of {size} bytes, {PORTALS} portals, {PARTITIONS} partitions, {AT_ONCE} at once")
    for name in rounds[0]:
        print(line(name, rounds))
    assert len(rounds) == ROUNDS


def line(name: str, rounds: Sequence[dict[str, Run]]) -> str:
    def middle(of: Callable[[dict[str, Run]], float]) -> float:
        return median(map(of, rounds))

    rate, cpu_us = middle(lambda each: each[name].rate), middle(lambda each: each[name].cpu_us)
    to_bare = middle(lambda each: each[name].rate / each["bare"].rate)
    to_eager = middle(lambda each: each[name].rate / each["eager"].rate)
    return f"  {name:12} {rate:9,.0f}/s  {cpu_us:5.1f} us CPU  x{to_bare:.2f} bare consume  x{to_eager:.2f} eager loop"


async def test_what_slow_handlers_get_of_a_backlog(bench: Bench) -> None:
    rounds: list[dict[str, Run]] = []
    for _ in range(ROUNDS):
        found: dict[str, Run] = {}
        for name, kafka in FETCHES.items():
            # Of its own: what one has parked, the next one would have to read.
            topic = bench.filled(even(SLOW_RECORDS))
            found[name], _ = await bench.worker("waits_long", topic, SLOW_RECORDS, kafka=kafka)
        rounds.append(found)

    print(f"\n{SLOW_RECORDS:,} records of {PORTALS} portals, a handler that waits 50 ms, {AT_ONCE} at once")
    for name in FETCHES:
        rate, peak_mb = (median(getattr(each[name], of) for each in rounds) for of in ("rate", "peak_mb"))
        ratio = median(each[name].rate / each["the default"].rate for each in rounds)
        print(f"  fetches as {name:12} {rate:7,.0f}/s  x{ratio:.2f}  at most {peak_mb:.0f} MB")
    assert rounds


async def test_what_few_portals_get_of_what_a_slow_handler_allows_in_a_backlog(bench: Bench) -> None:
    allowed = FEW_PORTALS / LONG_WORK_S
    rates = []
    for _ in range(ROUNDS):
        topic = bench.filled(even(PARKED_RECORDS, FEW_PORTALS))
        run, _ = await bench.worker("waits_long", topic, PARKED_RECORDS)
        rates.append(run.rate)

    # Each has more of them than it gets through, and so they are parked; what that takes is in the rate.
    print(f"\n{PARKED_RECORDS:,} records of {FEW_PORTALS} portals, a handler that waits 50 ms")
    print(f"  {median(rates):,.0f}/s, {median(rates) / allowed:.0%} of what that allows")
    assert rates


async def test_how_fast_a_backlog_comes_back_when_a_system_is_there_again(bench: Bench) -> None:
    rounds: list[dict[str, Run]] = []
    for _ in range(ROUNDS):
        found: dict[str, Run] = {}
        for handlers in ("waits", "out_at_first"):
            topic = bench.filled(even(PARKED_RECORDS))
            found[handlers], _ = await bench.worker(handlers, topic, PARKED_RECORDS)
        rounds.append(found)

    print(f"\n{PARKED_RECORDS:,} records of {PORTALS} portals, whose handler asks a system that was out at first")
    for handlers in rounds[0]:
        wall_s, cpu_us = (median(getattr(each[handlers], of) for each in rounds) for of in ("wall_s", "cpu_us"))
        ratio = median(each[handlers].cpu_us / each["waits"].cpu_us for each in rounds)
        print(f"  {handlers:12} first to last in {wall_s:5.1f} s, {cpu_us:5.0f} us CPU a record  x{ratio:.1f}")
    assert rounds


async def test_how_close_a_hot_portal_comes_to_its_own_limit(bench: Bench) -> None:
    portals = zipf(ZIPF_RECORDS)
    topic, hottest = bench.filled(portals), max(Counter(portals).values())
    limit = len(portals) / hottest / WORK_S
    of_limit, at_work = [], []
    for _ in range(ROUNDS):
        run, folder = await bench.worker("booked", topic, ZIPF_RECORDS)
        of_limit.append(run.rate / limit)
        times = max(booked(folder).values(), key=len)
        # A wait of 5 ms takes longer by what the loop's timers and the machine need for it.
        at_work.append(sum(ended - began for _, began, ended in times) / (times[-1][-1] - times[0][1]))

    reached = f"allows {limit:,.0f}/s; reached {median(of_limit):.1%}"
    print(f"\nZipf {ZIPF}: the hottest portal has {hottest / len(portals):.1%}, which {reached}")
    print(f"its handler was at work {median(at_work):.1%} of the time from its first event to its last")
    assert at_work


async def test_what_the_others_feel_of_a_hot_portal(bench: Bench) -> None:
    loads = {"even": even(PACED_RECORDS), "Zipf": zipf(PACED_RECORDS)}
    rounds: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for name, portals in loads.items():
            rounds[name].append(await p99_of_the_others(bench, portals))

    found = {name: median(them) * MS for name, them in rounds.items()}
    print(
        f"\n{PACED_RATE:,.0f}/s, a handler that waits 5 ms: from where an event could begin to where it began, p99 of "
        f"all but the hottest portal: even {found['even']:.1f} ms, Zipf {ZIPF} {found['Zipf']:.1f} ms"
    )
    assert found


async def p99_of_the_others(bench: Bench, portals: list[int]) -> float:
    """How long events had to wait for something else than their own portal."""
    topic = bench.topic()
    sending = Thread(target=pace, args=(bench.bootstrap, topic, portals, PACED_RATE, time.monotonic))
    _, folder = await bench.worker("booked", topic, len(portals), sending.start)
    sending.join()
    by_portal = booked(folder)
    hottest = max(by_portal.values(), key=len)
    caught_up = min(began for them in by_portal.values() for _, began, _ in them) + CAUGHT_UP_S
    others = [wait for them in by_portal.values() if them is not hottest for wait in waits(them, caught_up)]
    return quantiles(others, n=100)[P99]


def booked(folder: Path) -> dict[str, list[tuple[float, ...]]]:
    """By portal, when each of its events was received, when it began and when it ended, in seconds."""
    by_portal: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for line in (folder / "booked.log").read_text().splitlines():
        portal, *times = line.split()
        by_portal[portal].append(tuple(map(float, times)))
    return by_portal


def waits(times: list[tuple[float, ...]], since: float) -> list[float]:
    """Of each of a portal's events since then: how long it had come, and the one before had ended, when it began."""
    before = [0.0, *(ended for _, _, ended in times)]
    both = zip(times, before, strict=False)
    return [began - max(received, free) for (received, began, _), free in both if received >= since]


async def test_what_many_portals_cost_in_memory(bench: Bench) -> None:
    topics = {portals: bench.filled(even(MEMORY_RECORDS, portals)) for portals in (FEW_PORTALS, MANY_PORTALS)}
    rounds: dict[int, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for portals, topic in topics.items():
            # One that waits would be bound by the order of a hundred portals.
            run, _ = await bench.worker("trivial", topic, MEMORY_RECORDS)
            rounds[portals].append(run.peak_mb)

    few, many = (median(rounds[portals]) for portals in topics)
    print(f"\nat most {few:.0f} MB with {FEW_PORTALS} portals, {many:.0f} MB with {MANY_PORTALS:,} (x{many / few:.2f})")
    assert rounds
