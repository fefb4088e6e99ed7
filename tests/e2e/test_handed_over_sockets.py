"""A host that is alone restarts its ingest, and calls meanwhile wait in the socket that systemd has kept for it."""

import asyncio
import fcntl
import json
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from forebay.console.connection import Connection, target_of
from tests.e2e.site import Site
from tests.e2e.standing import ids
from tests.processes import dying_with_us

PORTALS, RESTARTS = 24, 3

#: What systemd does (sd_listen_fds(3)): the sockets from number 3 on, how many, and for which process they are.
_HAND_OVER = """
import os, sys
for number, socket in enumerate(sys.argv[1].split(","), 3):
    os.dup2(int(socket), number)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(number - 2)}
os.execv(sys.argv[2], sys.argv[2:])
"""


class Systemd:
    """Keeps the sockets, and hands them over to each process that it starts."""

    def __init__(self, site: Site, sockets: list[socket.socket]) -> None:
        self._site = site
        # High enough that none is in the way of where they go.
        self._numbers = [_high(one) for one in sockets]

    def start(self, name: str, command: str = "ingest") -> None:
        """Start `forebay` with this command."""
        given = ",".join(map(str, self._numbers))
        with (self._site.folder / f"{name}.log").open("ab") as log:
            self._site.running[name] = subprocess.Popen(
                [*dying_with_us(), sys.executable, "-c", _HAND_OVER, given, *self._site.command(command)],
                cwd=self._site.folder,
                env=self._site.environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=self._numbers,
            )


def _high(one: socket.socket) -> int:
    number = fcntl.fcntl(one.fileno(), fcntl.F_DUPFD_CLOEXEC, 100)
    one.detach()
    return number


class Portals:
    """Each sends one event after the other, every one over a connection of its own, as Bitrix24 does."""

    def __init__(self, site: Site) -> None:
        self._target = target_of(site.url)
        self.kept: dict[str, list[str]] = defaultdict(list)
        self.not_kept: list[object] = []
        self._any = asyncio.Condition()

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Meanwhile."""
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for number in range(PORTALS):
                tasks.create_task(self._send(f"p{number}.bitrix24.ru", enough))
            yield
            enough.set()

    async def _send(self, portal: str, enough: asyncio.Event) -> None:
        while not enough.is_set():
            way = Connection(self._target)
            body = f"event=ONCRMDEALADD&data[FIELDS][ID]={len(self.kept[portal])}&auth[domain]={portal}"
            answer = await way.post(body.encode())
            way.close()
            if answer.status == 200:
                self.kept[portal].append(json.loads(answer.body)["id"])
            else:
                self.not_kept.append(answer)
            async with self._any:
                self._any.notify_all()

    async def answered(self, more: int) -> None:
        """Return when so many more calls were answered."""
        aim = self._count() + more
        async with self._any:
            await self._any.wait_for(lambda: self._count() >= aim)

    def _count(self) -> int:
        return len(self.not_kept) + sum(map(len, self.kept.values()))


@pytest.fixture
def systemd(site: Site) -> Iterator[Systemd]:
    yield Systemd(site, [socket.create_server(("127.0.0.1", site.port), backlog=4096)])


@pytest.mark.parametrize("command", ["ingest", "up"])
async def test_a_restart_of_a_host_that_is_alone_costs_no_call(site: Site, systemd: Systemd, command: str) -> None:
    systemd.start("host", command)
    await asyncio.to_thread(site.wait, "the ingest", site.is_ready)
    portals = Portals(site)

    async with portals.sending():
        for _ in range(RESTARTS):
            await portals.answered(200)
            assert await asyncio.to_thread(site.stop, "host") == 0, site.log("host")
            systemd.start("host", command)
            await portals.answered(200)

    assert portals.not_kept == []
    assert await ids(site) == portals.kept


async def test_a_new_ingest_may_begin_before_the_old_one_ends(site: Site, systemd: Systemd) -> None:
    systemd.start("old")
    await asyncio.to_thread(site.wait, "the ingest", site.is_ready)
    portals = Portals(site)

    async with portals.sending():
        for old, new in (("old", "new"), ("new", "newer")):
            systemd.start(new)
            await asyncio.to_thread(site.wait, "the new one", lambda: "server listening" in site.log(new))  # noqa: B023
            await portals.answered(200)
            assert await asyncio.to_thread(site.stop, old) == 0, site.log(old)
            await portals.answered(200)

    assert portals.not_kept == []
    assert await ids(site) == portals.kept
