"""A host that is alone restarts its ingest, and calls meanwhile wait in the socket that systemd has kept for it."""

import asyncio
import fcntl
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.newcomers import Newcomers
from tests.e2e.site import Site
from tests.e2e.standing import ids
from tests.processes import dying_with_us

RESTARTS = 3

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


@pytest.fixture
def systemd(site: Site) -> Iterator[Systemd]:
    yield Systemd(site, [socket.create_server(("127.0.0.1", site.port), backlog=4096)])


@pytest.mark.parametrize("command", ["ingest", "up"])
async def test_a_restart_of_a_host_that_is_alone_costs_no_call(site: Site, systemd: Systemd, command: str) -> None:
    systemd.start("host", command)
    await asyncio.to_thread(site.wait, "the ingest", site.is_ready)
    portals = Newcomers(site.url)

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
    portals = Newcomers(site.url)

    async with portals.sending():
        for old, new in (("old", "new"), ("new", "newer")):
            systemd.start(new)
            await asyncio.to_thread(site.wait, "the new one", lambda: "server listening" in site.log(new))  # noqa: B023
            await portals.answered(200)
            assert await asyncio.to_thread(site.stop, old) == 0, site.log(old)
            await portals.answered(200)

    assert portals.not_kept == []
    assert await ids(site) == portals.kept
