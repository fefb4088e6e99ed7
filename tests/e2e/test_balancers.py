"""The balancers of docs/scaling.md, as the page shows them, before two ingest hosts of which one is killed."""

import asyncio
import re
import shutil
import socket
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from time import time

import pytest

from forebay.console.connection import Connection, target_of
from forebay.console.reading import between, inspected, opened
from forebay.console.settings import load_settings
from forebay.console.simulated import Bodies, SimulatedPortal
from forebay.schemas.codec import codec
from tests.e2e.site import Site, open_site
from tests.kafka.cluster import dying_with_us, free_ports
from tests.missing import missing

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text("utf-8")
PORTALS, CALLS = 64, 10

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
COMMANDS = {"nginx": ("nginx", "-p", "{folder}", "-c", "{file}"), "haproxy": ("haproxy", "-db", "-f", "{file}")}


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Site]]:
    """Two ingest hosts, each with a queue of its own, so that it shows what came where."""
    with ExitStack() as running:
        made = []
        for number in range(2):
            (folder := tmp_path / f"host-{number}").mkdir()
            made.append(running.enter_context(open_site(folder)))
            made[-1].start("ingest", "ingest")
        for one in made:
            one.wait("the ingest", one.is_ready)
        yield made


@pytest.fixture
def balancer(tmp_path: Path, hosts: list[Site]) -> Iterator[Callable[[str], str]]:
    """Starts the balancer of that name; gives the address of the endpoint behind it."""
    with ExitStack() as running:

        def started(name: str) -> str:
            if shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin") is None:
                missing(f"{name} is not installed")
            [port] = free_ports(1)
            process = subprocess.Popen([*dying_with_us(), *command(name, tmp_path / name, port, hosts)])
            running.callback(process.wait)
            running.callback(process.kill)
            hosts[0].wait(name, lambda: is_open(port))
            return f"http://127.0.0.1:{port}/bitrix24"

        yield started


def command(name: str, folder: Path, port: int, hosts: list[Site]) -> list[str]:
    """The command that runs the balancer with what the page shows, with addresses of this machine."""
    [shown] = re.findall(rf"^```{name}\n(.*?)^```$", PAGE, re.M | re.S)
    for number, host in enumerate(hosts, 11):
        shown = shown.replace(f"10.0.0.{number}:8080", f"127.0.0.1:{host.port}")
    shown = shown.replace("listen 8443", f"listen 127.0.0.1:{port}").replace("bind :8443", f"bind 127.0.0.1:{port}")
    folder.mkdir()
    (file := folder / "configuration").write_text(
        NGINX.format(folder=folder, shown=shown) if name == "nginx" else shown
    )
    path = shutil.which(COMMANDS[name][0], path="/usr/sbin:/usr/bin:/usr/local/bin")
    return [str(path), *(word.format(folder=folder, file=file) for word in COMMANDS[name][1:])]


def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as wire:
        return wire.connect_ex(("127.0.0.1", port)) == 0


class Senders:
    """Portals that send to addresses of their own, as Bitrix24 does: nothing twice, one after the other."""

    def __init__(self, url: str) -> None:
        self._url, self._bodies = url, Bodies(PORTALS, "any", Random(7))
        self._sent: dict[str, int] = defaultdict(int)
        self.statuses: list[int] = []

    async def run(self, calls: int) -> None:
        """So many calls of each portal."""
        await asyncio.gather(*(self._one(portal, calls) for portal in self._bodies.portals))

    async def _one(self, portal: SimulatedPortal, calls: int) -> None:
        wire = Connection(target_of(f"{self._url}/{portal.domain}"))
        for _ in range(calls):
            self._sent[portal.domain] += 1
            answer = await wire.post(self._bodies.body(portal, self._sent[portal.domain], time()))
            self.statuses.append(answer.status)
        wire.close()

    async def answered(self, calls: int) -> None:
        """Return when so many calls of all portals are answered."""
        while len(self.statuses) < calls:
            await asyncio.sleep(0.005)


async def kept(host: Site) -> dict[str, list[int]]:
    """The numbers of each portal's events, in the order in which they stand in the host's queue."""
    settings = load_settings(options={"data_dir": host.settings["data_dir"]}, environ={}).settings
    found: dict[str, list[int]] = defaultdict(list)
    async with opened(settings) as queue, inspected(queue) as inspector:
        for number, bounds in (await inspector.bounds(settings.topic)).items():
            async for record in between(inspector, settings.topic, number, bounds.start, bounds.end):
                found[record.key].append(int(codec().decode(record.value).fields["data[FIELDS][ID]"]))
    return found


@pytest.mark.parametrize("name", COMMANDS)
async def test_a_portal_stays_at_its_host_and_a_host_that_is_killed_costs_no_event(
    name: str, hosts: list[Site], balancer: Callable[[str], str]
) -> None:
    senders = Senders(balancer(name))

    await senders.run(CALLS)
    first, second = [await kept(host) for host in hosts]

    assert first and second
    assert not first.keys() & second.keys()
    assert all(numbers == list(range(1, CALLS + 1)) for numbers in [*first.values(), *second.values()])

    sending = asyncio.create_task(senders.run(CALLS))
    await senders.answered(PORTALS * (CALLS + 2))
    hosts[0].running["ingest"].kill()
    await sending
    before, after = [await kept(host) for host in hosts]

    assert set(senders.statuses) == {200}
    for portal in first:
        # What the killed host kept without answering went to the other one too.
        assert sorted({*before[portal], *after[portal]}) == list(range(1, 2 * CALLS + 1))
        assert before[portal] == sorted(before[portal])
        assert after[portal] == sorted(after[portal])
        assert len(before[portal]) + len(after[portal]) <= 2 * CALLS + 1
    assert all(after[portal] == list(range(1, 2 * CALLS + 1)) for portal in second)
