"""What an event costs the ingest, in CPU time of its worker, against a POST that the same server reads and drops.

Prints microseconds and ratios. The client runs beside the server, so requests/s say little; CPU time a request does.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BODY = (Path(__file__).parents[1] / "data" / "bitrix24" / "04_app_oncrmdealupdate_user.txt").read_bytes()
REQUEST = (
    b"POST /bitrix24 HTTP/1.1\r\nHost: x\r\nUser-Agent: Bitrix24 Webhook Engine\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
SERVERS = Path(__file__).with_name("ingest_servers.py")
CONNECTIONS, WARM_UP, REQUESTS = 32, 2_000, 20_000
TICKS = os.sysconf("SC_CLK_TCK")


@pytest.mark.benchmark
def test_the_cost_of_an_event_against_a_post_that_is_dropped(tmp_path: Path) -> None:
    costs = {which: _cost_us(which, tmp_path / which) for which in ("no-op", "dropping", "sealing", "sqlite")}

    labels = {
        "no-op": "POST read and dropped (Falcon, the same gunicorn)",
        "dropping": "ingest, secrets dropped, a queue that costs nothing",
        "sealing": "ingest, secrets sealed, a queue that costs nothing",
        "sqlite": "ingest, SQLite with fsync",
    }
    print(f"\n{len(BODY)} bytes, {CONNECTIONS} connections, one worker")
    for which, label in labels.items():
        cpu, rate = costs[which]
        print(f"  {label:52} {cpu:6.1f} us CPU a request  x{cpu / costs['no-op'][0]:4.2f}  {rate:7.0f}/s")


def _cost_us(which: str, folder: Path) -> tuple[float, float]:
    """CPU microseconds of the worker a request, and requests a second."""
    with _served(which, folder) as (port, worker):
        asyncio.run(_send(port, WARM_UP))
        cpu, started = _cpu_s(worker), time.perf_counter()
        asyncio.run(_send(port, REQUESTS))
        seconds = time.perf_counter() - started
        return (_cpu_s(worker) - cpu) / REQUESTS * 1e6, REQUESTS / seconds


@contextmanager
def _served(which: str, folder: Path) -> Iterator[tuple[int, int]]:
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(SERVERS), which, str(port), str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        asyncio.run(_until_accepted(port))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        yield port, int(children.split()[0])
    finally:
        process.terminate()
        process.wait(30)


async def _until_accepted(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await _one_connection(port, 1)
            except (OSError, asyncio.IncompleteReadError, AssertionError):
                await asyncio.sleep(0.1)
            else:
                return


async def _send(port: int, requests: int) -> None:
    await asyncio.gather(*(_one_connection(port, requests // CONNECTIONS) for _ in range(CONNECTIONS)))


async def _one_connection(port: int, requests: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for _ in range(requests):
            writer.write(REQUEST)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            await reader.readexactly(length)
    finally:
        writer.close()
        await writer.wait_closed()


def _cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS
