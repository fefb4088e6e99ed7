"""How long partitions stand still when a worker is killed, and when one joins: real processes on a real broker.

Its limits for KIP-848 allow the session and the beats that are asked for; what a broker has by default does not.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest

from forebay.console.settings import load_settings
from forebay.processors.testing import event
from forebay.queues.contract import Producer, Record
from forebay.queues.opening import open_queue
from forebay.schemas.codec import codec
from forebay.schemas.names import streams
from forebay.schemas.portal import partition_of
from tests.e2e.site import Site, open_site
from tests.kafka.fixtures import Kafka

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

PARTITIONS, MEMBERS = 12, 3
SESSION_S = 10.0
#: Each partition has an event so often: pauses are measured as exactly as that.
EVERY_S = 0.02

HANDLERS = """
import os
import time

from forebay import Handlers

handlers = Handlers()
book = os.open("handled.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)


@handlers.on("*")
async def handle(event):
    os.write(book, f"{event.portal} {os.getpid()} {time.monotonic()}\\n".encode())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """Which process handled an event, and when."""

    pid: int
    at: float


def handlings(site: Site) -> dict[str, list[Handling]]:
    """Of each portal, which is one to a partition, in order of time."""
    found: dict[str, list[Handling]] = defaultdict(list)
    # What stands behind the last end of a line is still being written.
    for line in (site.folder / "handled.log").read_text().rpartition("\n")[0].splitlines():
        portal, pid, at = line.split()
        found[portal].append(Handling(pid=int(pid), at=float(at)))
    return found


def latest(site: Site) -> dict[str, int]:
    """Who handled each portal's last event."""
    path = site.folder / "handled.log"
    return {portal: them[-1].pid for portal, them in handlings(site).items()} if path.exists() else {}


def longest_pause(them: list[Handling], since: float) -> float:
    """The longest time without an event, from a moment on."""
    times = [since, *(one.at for one in them if one.at >= since)]
    return max((after - before for before, after in pairwise(times)), default=0.0)


def a_portal_each() -> list[str]:
    """A portal for each partition."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < PARTITIONS:
        found.setdefault(partition_of(name := f"portal-{number}.bitrix24.example", PARTITIONS), name)
        number += 1
    return list(found.values())


@pytest.fixture
def site(kafka: Kafka, tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as site:
        name = f"events-{uuid4().hex}"
        site.settings |= {"queue_url": f"kafka://{kafka.bootstrap}", "topic": name, "group": name}
        site.settings |= {"session_s": str(SESSION_S)}
        (site.folder / "shop.py").write_text(HANDLERS)
        yield site


@asynccontextmanager
async def load(site: Site) -> AsyncIterator[None]:
    """Events for every partition, in the same rhythm."""
    names = ("queue_url", "topic", "group", "data_dir")
    settings = load_settings(options={name: site.settings[name] for name in names}, environ={}).settings
    queue = open_queue(settings)
    await queue.ensure(streams(settings.topic), PARTITIONS)
    producer = queue.producer()
    await producer.check()
    ticking = asyncio.create_task(tick(producer, settings.topic))
    yield
    ticking.cancel()
    await producer.close()
    await queue.close()


async def tick(producer: Producer, topic: str) -> None:
    values = {portal: codec().encode(event("ONCRMDEALADD", portal=portal)) for portal in a_portal_each()}
    due, sending = time.monotonic(), set[asyncio.Task[object]]()
    while True:
        due += EVERY_S
        await asyncio.sleep(due - time.monotonic())
        for portal, value in values.items():
            record = Record(key=portal, value=value, timestamp_ms=time.time_ns() // 1_000_000)
            sending.add(one := asyncio.create_task(producer.send(topic, record)))
            one.add_done_callback(sending.discard)


async def until(what: str, site: Site, so: Callable[[], bool]) -> None:
    await asyncio.to_thread(site.wait, what, so)


def are_spread(site: Site, pids: set[int]) -> bool:
    """Whether these processes, and no others, have the partitions."""
    now = latest(site)
    return len(now) == PARTITIONS and set(now.values()) == pids


async def started(site: Site, members: int) -> set[int]:
    """So many workers, when all of them work, and have for a while."""
    pids = {site.start(f"member-{number}", "process", "shop:handlers").pid for number in range(members)}
    await until("every worker's work", site, lambda: are_spread(site, pids))
    await asyncio.sleep(SESSION_S / 2)
    assert are_spread(site, pids)
    return pids


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
async def test_how_long_a_killed_workers_partitions_stand_still(site: Site, protocol: str) -> None:
    site.settings["kafka"] = f'{{"group.protocol": "{protocol}"}}'
    async with load(site):
        pids = await started(site, MEMBERS)
        usual = max(longest_pause(them, them[-1].at - 3) for them in handlings(site).values())
        victim = site.running["member-0"]
        theirs = {portal for portal, pid in latest(site).items() if pid == victim.pid}
        killed = time.monotonic()
        victim.kill()
        await until("the others to take over", site, lambda: are_spread(site, pids - {victim.pid}))

    found = handlings(site)
    again = [next(one.at for one in found[p] if one.pid != victim.pid and one.at > killed) - killed for p in theirs]
    others = max(longest_pause(them, killed) for portal, them in found.items() if portal not in theirs)
    print(
        f"\n{protocol}: one of {MEMBERS} workers killed, {PARTITIONS} partitions, one broker, session {SESSION_S:g} s: "
        f"the others' longest pause {others:.2f} s (before it {usual:.2f}); "
        f"the victim's {len(theirs)} partitions read again after {min(again):.1f} to {max(again):.1f} s"
    )
    assert theirs


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
async def test_how_long_partitions_stand_still_when_a_worker_joins(site: Site, protocol: str) -> None:
    site.settings["kafka"] = f'{{"group.protocol": "{protocol}"}}'
    async with load(site):
        pids = await started(site, MEMBERS - 1)
        before, since = latest(site), time.monotonic()
        pids.add(site.start("late", "process", "shop:handlers").pid)
        await until("the new worker's share", site, lambda: are_spread(site, pids) and is_even(site))

    found, after = handlings(site), latest(site)
    moved = {portal for portal in found if after[portal] != before[portal]}
    stood = [longest_pause(found[portal], since) for portal in moved]
    stayed = max(longest_pause(found[portal], since) for portal in found.keys() - moved)
    print(
        f"\n{protocol}: a worker joins {MEMBERS - 1}, {PARTITIONS} partitions, one broker: {len(moved)} moved, and "
        f"stood still for {min(stood):.2f} to {max(stood):.2f} s; the others' longest pause {stayed:.2f} s"
    )
    assert moved


def is_even(site: Site) -> bool:
    """Whether all have the same share."""
    owners = list(latest(site).values())
    return {owners.count(pid) for pid in set(owners)} == {PARTITIONS // MEMBERS}
