"""How long answers take while a backlog of the spool goes to Kafka, beside those right before, and how fast it goes."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest

from forebay.console.traffic.report import percentiles_ms
from tests.answers import metrics_of
from tests.e2e.sending import Portals
from tests.e2e.site import Site, open_site
from tests.kafka.cluster import PRODUCTION_JVM, Cluster, Node

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

PROCESSES, PORTALS, CONNECTIONS = 2, 5000, 128
BACKLOG, RATE, BEFORE = 40_000, 500, 2500
#: More than the ingest takes: the backlog comes as fast as it is answered.
FLOOD = 20_000
#: The drain is measured from where it has begun to where its end is near.
EDGE = 1000
#: A broker has a machine of its own in real life; here it gets the time which the ingest and the load leave it.
ELSEWHERE = ("nice", "-n", "10")


async def test_how_long_answers_take_while_a_backlog_goes_to_kafka(tmp_path: Path) -> None:
    node = Node(1, tmp_path / "node-1", PRODUCTION_JVM)
    node.within = ELSEWHERE
    with Cluster(tmp_path, [node]) as cluster, open_site(tmp_path) as site:
        site.settings |= {"queue_url": f"kafka://{cluster.bootstrap}", "auth": "none"}
        site.start("ingest", "ingest", "--processes", str(PROCESSES))
        await asyncio.to_thread(site.wait, "the queue", lambda: site.log("ingest").count("queue is open") == PROCESSES)
        node.signal(signal.SIGSTOP)
        async with sending(site, FLOOD) as portals:
            await portals.answered(BACKLOG)
        async with sending(site, RATE) as portals:
            await portals.answered(BEFORE)
            before, portals.calls = portals.calls, []
            node.signal(signal.SIGCONT)
            most = await asyncio.to_thread(held, site)
            await asyncio.to_thread(site.wait, "the drain", lambda: held(site) < most - EDGE)
            left, began, portals.calls = await asyncio.to_thread(held, site), monotonic(), []
            await asyncio.to_thread(site.wait, "its end", lambda: held(site) < EDGE)
            took_s, meanwhile = monotonic() - began, portals.calls

    found = [percentiles_ms([call.took_s for call in calls]) for calls in (before, meanwhile)]
    print(f"\n{RATE} events/s of {PORTALS:,} portals, {PROCESSES} processes; the queue gone: answers {found[0]} ms")
    print(f"while {left:,.0f} events are drained, {left / took_s:,.0f}/s: answers {found[1]} ms")
    print("ratios:", {name: round(found[1][name] / found[0][name], 1) for name in found[0]})
    assert meanwhile


@asynccontextmanager
async def sending(site: Site, rate: float) -> AsyncIterator[Portals]:
    """Portals that send meanwhile."""
    portals = Portals([site.url], PORTALS, rate=rate, connections=CONNECTIONS, seed=7, in_turn=False)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(portals.run())
        yield portals
        portals.stop()


def held(site: Site) -> float:
    """How many events the spool has."""
    lines = metrics_of(site.port).splitlines()
    (records,) = (float(line.rpartition(" ")[2]) for line in lines if line.startswith("forebay_spool_records"))
    return records
