"""The balancers of docs/scaling.md, as the page shows them, before two ingest hosts. One is killed; or Kafka is."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path
from random import Random
from time import time

import pytest

from forebay.console.traffic.connection import Connection, target_of
from forebay.console.traffic.simulated import Bodies, SimulatedPortal
from tests.e2e.site import Site, open_site
from tests.e2e.standing import standing
from tests.kafka.cluster import Cluster
from tests.missing import missing
from tests.ports import free_ports
from tests.processes import dying_with_us

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text("utf-8")
PORTALS, CALLS = 64, 10
QUERIES = ("", "?deal=1", "?deal=2")

#: Between two calls of a portal under a load that goes on; and so many calls come with the queue there, or gone.
PAUSE_S, WHILE_THERE, WHILE_GONE = 0.1, 300, 1000

#: What nginx needs around the page's configuration to run in a folder, as no service.
NGINX = """
daemon off;
pid {folder}/pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {shown}
}}
"""
#: The balancer → how the page marks its configuration, and the command that runs it.
BALANCERS = {
    "nginx": ("nginx", "nginx -p {folder} -c {file}"),
    "haproxy": ("haproxy", "haproxy -db -f {file}"),
    "envoy": ("yaml", "envoy -c {file} --disable-hot-restart --concurrency 2 --log-level error"),
}

#: Envoy comes as a wheel.
PATH = f"/usr/sbin:/usr/bin:/usr/local/bin:{Path(sys.executable).parent}"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Callable[..., list[Site]]]:
    """Starts two ingest hosts with these settings."""
    with ExitStack() as running:

        def started(**settings: str) -> list[Site]:
            made = []
            for number in range(2):
                (folder := tmp_path / f"host-{number}").mkdir()
                made.append(running.enter_context(open_site(folder)))
                made[-1].settings |= settings
                made[-1].start("ingest", "ingest")
            for one in made:
                one.wait("the ingest", one.is_ready)
            return made

        yield started


@pytest.fixture
def balancer(tmp_path: Path) -> Iterator[Callable[[str, list[Site]], str]]:
    """Starts the balancer of that name in front of the hosts; gives the address of the endpoint behind it."""
    with ExitStack() as running:

        def started(name: str, hosts: list[Site]) -> str:
            if shutil.which(name, path=PATH) is None:
                missing(f"{name} is not installed")
            [port] = free_ports(1)
            process = subprocess.Popen([*dying_with_us(), *command(name, tmp_path / name, port, hosts)])
            running.callback(process.wait)
            # Not killed: nginx's workers would stay.
            running.callback(process.terminate)
            hosts[0].wait(name, lambda: is_open(port))
            return f"http://127.0.0.1:{port}/bitrix24"

        yield started


def command(name: str, folder: Path, port: int, hosts: list[Site]) -> list[str]:
    """The command that runs the balancer with what the page shows, with addresses of this machine."""
    mark, words = BALANCERS[name]
    [shown] = re.findall(rf"^```{mark}\n(.*?)^```$", PAGE, re.M | re.S)
    for number, host in enumerate(hosts, 11):
        shown = re.sub(rf"10\.0\.0\.{number}(:|, port_value: )8080", rf"127.0.0.1\g<1>{host.port}", shown)
    shown = re.sub(r"(listen |bind )(:?)8443", rf"\g<1>127.0.0.1:{port}", shown)
    shown = shown.replace("0.0.0.0, port_value: 8443", f"127.0.0.1, port_value: {port}")
    folder.mkdir()
    # By its name Envoy knows how the file is written.
    (file := folder / f"configuration.{mark}").write_text(
        NGINX.format(folder=folder, shown=shown) if name == "nginx" else shown
    )
    program, *options = words.format(folder=folder, file=file).split()
    return [str(shutil.which(program, path=PATH)), *options]


def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as wire:
        return wire.connect_ex(("127.0.0.1", port)) == 0


def kill(host: Site) -> None:
    """The whole host at once: a worker whose master alone is killed goes on for a while."""
    for pid in (host.running["ingest"].pid, *host.workers()):
        os.kill(pid, signal.SIGKILL)


class Senders:
    """Portals that send to addresses of their own, as Bitrix24 does: nothing twice, one after the other.

    Rules put their data behind the address, so that it is not the same twice.
    """

    def __init__(self, url: str) -> None:
        self._url, self._bodies = url, Bodies(PORTALS, "any", Random(7))
        self.sent: dict[str, int] = defaultdict(int)
        self._pause_s = 0.0
        self.statuses: list[int] = []

    async def run(self, calls: int) -> None:
        """So many calls of each portal."""
        await asyncio.gather(*(self._one(portal, calls) for portal in self._bodies.portals))

    async def run_until(self, end: asyncio.Event) -> None:
        """Call after call of each portal, at the pace that two hosts on a busy machine keep up with."""
        self._pause_s = PAUSE_S
        await asyncio.gather(*(self._one(portal, sys.maxsize, end) for portal in self._bodies.portals))

    async def _one(self, portal: SimulatedPortal, calls: int, end: asyncio.Event | None = None) -> None:
        wires = [Connection(target_of(f"{self._url}/{portal.domain}{query}")) for query in QUERIES]
        for wire in islice(cycle(wires), calls):
            if end and end.is_set():
                break
            self.sent[portal.domain] += 1
            answer = await wire.post(self._bodies.body(portal, self.sent[portal.domain], time()))
            self.statuses.append(answer.status)
            await asyncio.sleep(self._pause_s)
        for wire in wires:
            wire.close()

    async def answered(self, calls: int) -> None:
        """Return when so many calls of all portals are answered."""
        while len(self.statuses) < calls:
            await asyncio.sleep(0.005)


async def kept(host: Site) -> dict[str, list[int]]:
    """The numbers of each portal's events, in the order in which they stand in the host's queue."""
    found: dict[str, list[int]] = defaultdict(list)
    for portal, events in (await standing(host)).items():
        found[portal] += (int(event.fields["data[FIELDS][ID]"]) for event in events)
    return found


@pytest.mark.parametrize("name", BALANCERS)
async def test_a_portal_stays_at_its_host_and_a_host_that_is_killed_costs_no_event(
    name: str, hosts: Callable[..., list[Site]], balancer: Callable[[str, list[Site]], str]
) -> None:
    # Each has a queue of its own, which shows what came where.
    running = hosts()
    senders = Senders(balancer(name, running))

    await senders.run(CALLS)
    first, second = [await kept(host) for host in running]

    assert first and second
    assert not first.keys() & second.keys()
    assert all(numbers == list(range(1, CALLS + 1)) for numbers in [*first.values(), *second.values()])

    sending = asyncio.create_task(senders.run(CALLS))
    await senders.answered(PORTALS * (CALLS + 2))
    kill(running[0])
    await sending
    before, after = [await kept(host) for host in running]

    assert set(senders.statuses) == {200}
    assert any(after[portal] for portal in first)
    for portal in first:
        # What the killed host kept without answering went to the other one too.
        assert sorted({*before[portal], *after[portal]}) == list(range(1, 2 * CALLS + 1))
        assert before[portal] == sorted(before[portal])
        assert after[portal] == sorted(after[portal])
        assert len(before[portal]) + len(after[portal]) <= 2 * CALLS + 1
    assert all(after[portal] == list(range(1, 2 * CALLS + 1)) for portal in second)


def spooled(host: Site) -> int:
    """How many events the host's spool holds."""
    return int(json.loads(host.run("spool", "status", "--json").stdout)["records"])


@pytest.mark.kafka
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", BALANCERS)
async def test_a_kafka_that_hangs_and_dies_behind_two_hosts_costs_no_event_and_no_portals_order(
    name: str,
    clusters: Callable[..., Cluster],
    hosts: Callable[..., list[Site]],
    balancer: Callable[[str, list[Site]], str],
) -> None:
    # Not in threads: what is started there is killed when its thread ends, and nginx leaves its workers behind.
    [broker] = (cluster := clusters()).nodes
    running = hosts(queue_url=f"kafka://{cluster.bootstrap}")
    senders, end = Senders(balancer(name, running)), asyncio.Event()
    sending = asyncio.create_task(senders.run_until(end))

    held = []
    outages: list[tuple[Callable[[], None], Callable[[], None]]] = [
        (lambda: broker.signal(signal.SIGSTOP), lambda: broker.signal(signal.SIGCONT)),
        (lambda: broker.stop(signal.SIGKILL), broker.start),
    ]
    for goes, comes in outages:
        await senders.answered(len(senders.statuses) + WHILE_THERE)
        await asyncio.to_thread(goes)
        await senders.answered(len(senders.statuses) + WHILE_GONE)
        held += [await asyncio.to_thread(spooled, host) for host in running]
        comes()
        await asyncio.to_thread(cluster.wait_ready)
    await senders.answered(len(senders.statuses) + WHILE_THERE)
    end.set()
    await sending
    await asyncio.to_thread(running[0].wait, "the end of the drain", lambda: not any(map(spooled, running)))

    assert set(senders.statuses) == {200}
    assert all(held), held
    # What was under way when the broker died may stand there twice.
    first = {portal: list(dict.fromkeys(numbers)) for portal, numbers in (await kept(running[0])).items()}
    assert first == {portal: list(range(1, sent + 1)) for portal, sent in senders.sent.items()}
