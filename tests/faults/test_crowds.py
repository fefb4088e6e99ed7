"""Many portals, many connections, slow callers, and no file left to open: while the broker is gone."""

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from random import Random

import pytest

from tests.kafka.cluster import Cluster

from .stand import ELSEWHERE, LONG, SHORT, Size, Stand
from .strangers import strangers

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SIZES = pytest.mark.parametrize("size", [SHORT, pytest.param(LONG, marks=pytest.mark.faults)], ids=["short", "long"])

PORTALS, HOT, HOT_SHARE = 100_000, 1000, 0.9
IDLE, SLOW = 2000, 200

#: Files that a process may open beyond those that it has.
_FILES_LEFT = 8
_STRANGERS = 300

_HEAD = (
    b"POST /bitrix24 HTTP/1.1\r\nHost: slow\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: 900\r\n\r\n"
)


def hot(portals: int, rng: Random) -> Iterator[int]:
    """Which portal has the next event: mostly one of the first."""
    for _ in repeat(None):
        yield rng.randrange(HOT) if rng.random() < HOT_SHARE else rng.randrange(portals)


@pytest.mark.faults
async def test_a_hundred_thousand_portals_of_which_some_are_hot_cost_no_event_and_no_order(
    clusters: Callable[..., Cluster], stands: Callable[..., Stand]
) -> None:
    cluster = clusters()
    stand = stands(cluster.url, replace(LONG, portals=PORTALS), drawn=hot)
    await stand.start()

    async with stand.loaded(), stand.fault():
        cluster.nodes[0].signal(signal.SIGSTOP)
        await stand.meanwhile()
        cluster.nodes[0].signal(signal.SIGCONT)

    row = await stand.judged(
        "crowd: 100,000 portals, 1 % of them with 90 % of the events; the broker hangs", note="drawn evenly within both"
    )
    assert (row.refused, row.unanswered) == (0, 0)


async def idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ask once: from then on the connection may be silent for as long as keep_alive_s says."""
    writer.write(b"GET /live HTTP/1.1\r\nHost: idle\r\n\r\n")
    await reader.readuntil(b"}}")


@asynccontextmanager
async def connections(port: int, many: int) -> AsyncIterator[list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]:
    """So many of them, that say nothing."""
    opened = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(many)))
    try:
        yield opened
    finally:
        for _, writer in opened:
            writer.close()


async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Send a body byte by byte, for as long as the ingest wants to hear it; what it said in the end."""
    writer.write(_HEAD)
    hearing = asyncio.create_task(reader.read())
    while not hearing.done():
        writer.write(b"a")
        await asyncio.wait([hearing], timeout=0.5)
    with suppress(OSError):
        return hearing.result()
    return b""


@SIZES
async def test_callers_who_are_slow_or_silent_keep_nobody_from_being_heard(
    clusters: Callable[..., Cluster], stands: Callable[..., Stand], size: Size
) -> None:
    cluster = clusters()
    stand = stands(cluster.url, size)
    stand.site.settings["body_timeout_s"] = "3"
    stand.site.settings["keep_alive_s"] = "300"
    await stand.start()

    async with stand.loaded(), stand.fault(), connections(stand.site.port, IDLE) as silent:
        await asyncio.gather(*(idle(*one) for one in silent))
        cluster.nodes[0].signal(signal.SIGSTOP)
        async with connections(stand.site.port, SLOW) as slow:
            said, _ = await asyncio.gather(asyncio.gather(*(dribble(*one) for one in slow)), stand.meanwhile())
        cluster.nodes[0].signal(signal.SIGCONT)

    row = await stand.judged(
        f"crowd: {IDLE:,} silent connections and {SLOW} slow bodies, and the broker hangs",
        note="each slow body was refused with 408 after body_timeout_s, here 3 s",
    )
    assert {one.split(b"\r\n")[0] for one in said} == {b"HTTP/1.1 408 Request Timeout"}
    assert (row.refused, row.unanswered) == (0, 0)


def open_files(pid: int) -> int:
    """How many the process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def leave_few(pids: list[int]) -> dict[int, int]:
    """Let the processes open no more than a few files beyond those that they have; how many each may have now."""
    limits = {pid: open_files(pid) + _FILES_LEFT for pid in pids}
    for pid, limit in limits.items():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
    return limits


def wait_until_full(pid: int, limit: int) -> None:
    """Return when it has all the files that it may have, once."""
    while open_files(pid) < limit - 1:
        pass


@pytest.mark.faults
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
async def test_an_ingest_that_can_open_no_file_more_loses_nothing_that_was_acknowledged(
    clusters: Callable[..., Cluster], stands: Callable[..., Stand]
) -> None:
    cluster = clusters()
    stand = stands(cluster.url, LONG)
    await stand.start()

    async with stand.loaded(), stand.fault():
        limits = leave_few(stand.site.workers())
        with strangers(stand.site.port, _STRANGERS, ELSEWHERE):
            await asyncio.gather(*(asyncio.to_thread(wait_until_full, *one) for one in limits.items()))
            await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
            await stand.meanwhile()
            cluster.nodes[0].start()
            await asyncio.to_thread(cluster.wait_ready)
            await stand.portals.answered(stand.size.meanwhile // 5)

    row = await stand.judged(
        f"crowd: no file left to open ({_STRANGERS} strangers), broker killed and started again",
        note="the limit stays; the strangers come again whenever they are let go of, until the end of the fault",
    )
    assert row.refused == 0
