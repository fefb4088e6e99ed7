"""Everything is restarted, one after the other, as an update does it: SIGTERM to ingests, workers and brokers."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.site import Site, open_site
from tests.kafka.cluster import Cluster
from tests.order import HANDLERS, Book, judge

from .hosts import is_open
from .stand import LONG, Stand
from .standing import name_of

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.timeout(900)]


class Workers:
    """A process of workers on each of two hosts, and the book in which all of them write."""

    def __init__(self, hosts: Sequence[Site], book: Book) -> None:
        self.hosts, self.book = hosts, book

    def start(self, host: Site) -> None:
        """Start those of the host."""
        (host.folder / "shop.py").write_text(HANDLERS)
        host.start("process", "process", "shop:handlers")

    async def restart(self, host: Site) -> int:
        """SIGTERM, and new ones; return when those have begun an event."""
        status = await asyncio.to_thread(host.stop, "process")
        self.start(host)
        pid, seen = host.running["process"].pid, len(self.book.read().lines)
        begun = lambda: any(line.pid == pid for line in self.book.read().lines[seen:])  # noqa: E731 - asked in a thread
        await asyncio.to_thread(host.wait, "a new worker's first event", begun)
        return status

    async def ended(self, kept: set[str]) -> None:
        """Return when every event has come to its end."""
        await asyncio.to_thread(self.hosts[0].wait, "the last event", lambda: self.book.read().ended >= kept)

    def stop(self) -> list[int]:
        """The exit status of each."""
        return [host.stop("process") for host in self.hosts]


async def restarted(stand: Stand, site: Site) -> int:
    """SIGTERM to an ingest, and a new one in its place; return when that has its queue."""
    status = await asyncio.to_thread(site.stop, "ingest")
    site.start("ingest", "ingest", "--processes", str(stand.processes))
    await asyncio.to_thread(site.wait, "the queue", lambda: is_open(site, stand.processes))
    return status


async def test_a_rolling_restart_of_everything_costs_no_event_and_no_order(
    clusters: Callable[..., Cluster],
    stands: Callable[..., Stand],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BOOK", str(tmp_path / "handled.log"))
    cluster = clusters(3)
    stand = stands(cluster.url, replace(LONG, rate=250.0), hosts=2, processes=1)
    with ExitStack() as running:
        hosts = []
        for name in ("workers-0", "workers-1"):
            (tmp_path / name).mkdir()
            hosts.append(running.enter_context(open_site(tmp_path / name)))
            hosts[-1].settings |= {"queue_url": stand.site.settings["queue_url"], "session_s": "5"}
        workers = Workers(hosts, Book(tmp_path / "handled.log"))
        await stand.start()
        for host in hosts:
            workers.start(host)

        statuses = []
        async with stand.loaded(), stand.fault():
            for site in stand.sites:
                statuses.append(await restarted(stand, site))
                await stand.portals.answered(500)
            for host in hosts:
                statuses.append(await workers.restart(host))
                await stand.portals.answered(500)
            for node in cluster.nodes:
                await asyncio.to_thread(node.stop, signal.SIGTERM)
                await stand.portals.answered(500)
                node.start()
                await asyncio.to_thread(cluster.wait_in_sync)
        kept = {event for events in stand.portals.kept.values() for event in events}
        await workers.ended(kept)
        statuses += workers.stop()

    verdict = judge(stand.portals.kept, workers.book.read().lines)
    await stand.judged(
        "everything: SIGTERM to two ingests, two workers and three brokers, one after the other",
        bound=stand.under_way(2 * len(cluster.nodes)),
        note="250 events a second; half of the portals call an ingest while it is restarted, and find nobody there; "
        f"{len(verdict.again)} events came to a handler again",
    )
    assert statuses == [0] * len(statuses)
    assert not (verdict.lost or verdict.out_of_order or verdict.at_once), verdict
    # Only what stands twice comes twice.
    standing = Counter(name_of(event) for events in stand.events.values() for event in events)
    assert all(standing[line.event] > 1 for line in verdict.again), verdict.again
