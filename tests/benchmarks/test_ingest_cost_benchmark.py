"""What an event costs the ingest, in CPU time of its worker, against a POST that the same server reads and drops.

Prints microseconds of the worker with all its threads, librdkafka's too, and ratios. The client and the broker run
beside it, so requests/s and the answer's times are those of the whole machine.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kafka.fixtures import Kafka

#: On a machine that does other things too it takes minutes.
pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

FORM = Path(__file__).parents[1] / "data" / "bitrix24" / "04_app_oncrmdealupdate_user.txt"
SERVERS, LOAD = Path(__file__).with_name("ingest_servers.py"), Path(__file__).with_name("http_load.py")
CONNECTIONS, WARM_UP, REQUESTS, ROUNDS = (8, 32, 128), 2_000, 10_000, 5
PORTALS = 1000
READY_S = 60
TICKS = os.sysconf("SC_CLK_TCK")
US = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one load cost, and how fast it was."""

    cpu_us: float
    rate: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server that runs."""

    port: int
    worker: int

    def loaded(self, connections: int, requests: int = REQUESTS) -> Run:
        """The figures of so many requests."""
        before = _cpu_s(self.worker)
        words = [str(self.port), str(connections), str(requests), str(PORTALS), str(FORM)]
        done = subprocess.run([sys.executable, str(LOAD), *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        cpu_us = (_cpu_s(self.worker) - before) / found.pop("answered") * US
        return Run(cpu_us=cpu_us, **found)


def test_the_cost_of_an_event_against_a_post_that_is_dropped(tmp_path: Path) -> None:
    servers = {
        "no-op": ("POST read and dropped", "no-op", ""),
        "dropping": ("a queue that costs nothing, secrets dropped", "dropping", ""),
        "sealing": ("a queue that costs nothing, secrets sealed", "sealing", ""),
        "sqlite": ("SQLite with fsync, secrets dropped", "dropping", f"sqlite:///{tmp_path}/queue.db"),
    }
    _compare(servers, (32,), tmp_path)


@pytest.mark.kafka
def test_the_cost_of_an_event_that_kafka_has_acknowledged(kafka: Kafka, tmp_path: Path) -> None:
    servers = {
        "no-op": ("POST read and dropped", "no-op", ""),
        "kafka": ("Kafka, secrets dropped", "dropping", f"kafka://{kafka.bootstrap}"),
        "sealed": ("Kafka, secrets sealed", "sealing", f"kafka://{kafka.bootstrap}"),
    }
    _compare(servers, CONNECTIONS, tmp_path)


def _compare(servers: dict[str, tuple[str, str, str]], connections: tuple[int, ...], folder: Path) -> None:
    """All run at once and are loaded in turn, so that what else the machine does falls on each alike."""
    with ExitStack() as running:
        served = {name: running.enter_context(_served(name, *what[1:], folder)) for name, what in servers.items()}
        print(f"\nCPU of the worker a request; {FORM.stat().st_size} bytes, {PORTALS} portals, one process")
        for count in connections:
            rounds = [{name: one.loaded(count) for name, one in served.items()} for _ in range(ROUNDS)]
            for name, what in servers.items():
                print(f"  {count:4} connections  {what[0]:44} {_line(rounds, name)}")


def _line(rounds: list[dict[str, Run]], name: str) -> str:
    def middle(figure: str) -> float:
        values: list[float] = [getattr(each[name], figure) for each in rounds]
        return statistics.median(values)

    ratio = statistics.median(each[name].cpu_us / each["no-op"].cpu_us for each in rounds)
    times = f"p50 {middle('p50_ms'):5.1f} p99 {middle('p99_ms'):5.1f} ms"
    return f"{middle('cpu_us'):6.1f} us  x{ratio:4.2f}  {middle('rate'):6.0f}/s  {times}"


@contextmanager
def _served(name: str, which: str, queue_url: str, parent: Path) -> Iterator[Served]:
    folder = parent / name
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(SERVERS), which, str(port), str(folder), *([queue_url] if queue_url else [])],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        yield _ready(process, port)
    finally:
        process.terminate()
        process.wait(READY_S)


def _ready(process: "subprocess.Popen[bytes]", port: int) -> Served:
    """The server when its first load was answered: the streams are made, and the producer has its id."""
    until = time.monotonic() + READY_S
    while True:
        assert process.poll() is None, "the server ended"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        try:
            served = Served(port=port, worker=int(children[0]))
            served.loaded(max(CONNECTIONS), WARM_UP)
        except (IndexError, AssertionError):
            assert time.monotonic() < until, "the server is not ready"
            time.sleep(0.1)
        else:
            return served


def _cpu_s(pid: int) -> float:
    """User and system time of a process so far, of all its threads."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS
