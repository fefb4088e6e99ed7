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
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, but in no __all__

from tests.kafka.fixtures import Kafka

#: On a machine that does other things too it takes minutes.
pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

FORM = Path(__file__).parents[1] / "data" / "bitrix24" / "04_app_oncrmdealupdate_user.txt"
HERE = Path(__file__).parent
CONNECTIONS, PORTALS, PARTITIONS = (8, 32, 128), 1000, 12
REQUESTS, ROUNDS = 20_000, 5
#: A broker's Java is compiled while it runs; before that is done, it takes the processor from those who are measured.
WARM_UP = 40_000
READY_S = 60
TICKS = os.sysconf("SC_CLK_TCK")
US = 1_000_000

TOKEN, SEAL_KEYS = "51856fefc120afa4b628cc82d3935cce", '{"k": "' + "A" * 43 + '="}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What is started, `{port}` and `{folder}` for where; what it is called, and with which variables."""

    what: str
    command: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


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
        load = [sys.executable, str(HERE / "http_load.py"), *words]
        done = subprocess.run(load, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        cpu_us = (_cpu_s(self.worker) - before) / found.pop("answered") * US
        return Run(cpu_us=cpu_us, **found)


def test_the_cost_of_an_event_against_a_post_that_is_dropped(tmp_path: Path) -> None:
    servers = {
        "no-op": ours("POST read and dropped", "no-op"),
        "plain": ours("the same on gunicorn's own worker", "plain"),
        "dropping": ours("a queue that costs nothing, secrets dropped", "dropping"),
        "sealing": ours("a queue that costs nothing, secrets sealed", "sealing"),
        "sqlite": forebay("SQLite with fsync, secrets dropped", f"sqlite:///{tmp_path}/queue.db"),
    }
    _compare(servers, (32,), tmp_path)


@pytest.mark.kafka
def test_the_cost_of_an_event_that_kafka_has_acknowledged(kafka: Kafka, tmp_path: Path) -> None:
    bootstrap = kafka.bootstrap
    servers = {
        "no-op": ours("POST read and dropped", "no-op"),
        "plain": ours("the same on gunicorn's own worker", "plain"),
        "bare": ours("POST read and sent to Kafka as it is", "bare", bootstrap, topic_of_12(bootstrap)),
        "kafka": forebay("Forebay with Kafka, secrets dropped", f"kafka://{bootstrap}"),
        "sealed": forebay("Forebay with Kafka, secrets sealed", f"kafka://{bootstrap}", SEAL_KEYS=SEAL_KEYS),
        "naive": naive("naive Falcon and confluent-kafka", bootstrap, topic_of_12(bootstrap)),
    }
    _compare(servers, CONNECTIONS, tmp_path)


def ours(what: str, *words: str) -> Server:
    """One that stands beside this file, on Forebay's gunicorn."""
    name, *more = words
    script = str(HERE / "ingest_servers.py")
    return Server(what=what, command=(sys.executable, script, name, "{port}", "{folder}", *more))


def forebay(what: str, queue_url: str, **more: str) -> Server:
    """The command `forebay ingest`, with what has no default and no more."""
    given = {"TOKENS": json.dumps({"*": TOKEN}), "QUEUE_URL": queue_url, **more}
    settings = {"TOPIC": f"events-{uuid4().hex}", "BIND": "127.0.0.1:{port}", "DATA_DIR": "{folder}", **given}
    variables = {f"FOREBAY_{name}": value for name, value in settings.items()}
    return Server(what=what, command=(sys.executable, "-m", "forebay.console.cli", "ingest"), variables=variables)


def naive(what: str, bootstrap: str, topic: str) -> Server:
    """The baseline of somebody in a hurry."""
    return Server(what=what, command=(sys.executable, str(HERE / "naive.py"), "serve", "{port}", bootstrap, topic))


def topic_of_12(bootstrap: str) -> str:
    """A new topic with as many partitions as Forebay makes."""
    topic = f"events-{uuid4().hex}"
    with AdminClient({"bootstrap.servers": bootstrap}) as client:
        [made] = client.create_topics([NewTopic(topic, PARTITIONS, 1)]).values()
        made.result(READY_S)
    return topic


def _compare(servers: dict[str, Server], connections: tuple[int, ...], folder: Path) -> None:
    """All run at once and are loaded in turn, so that what else the machine does falls on each alike."""
    with ExitStack() as running:
        served = {name: running.enter_context(_served(one, folder / name)) for name, one in servers.items()}
        for one in served.values():
            one.loaded(max(CONNECTIONS), WARM_UP)
        print(f"\nCPU of the worker a request, median of {ROUNDS} rounds of {REQUESTS:,} requests in a closed loop;")
        print(f"{FORM.stat().st_size} bytes, {PORTALS} portals; one process; load and queue on the same machine")
        for count in connections:
            rounds = [{name: one.loaded(count) for name, one in served.items()} for _ in range(ROUNDS)]
            for name, server in servers.items():
                print(f"  {count:4} connections  {server.what:44} {_line(rounds, name)}")


def _line(rounds: list[dict[str, Run]], name: str) -> str:
    def middle(figure: str) -> float:
        values: list[float] = [getattr(each[name], figure) for each in rounds]
        return statistics.median(values)

    ratio = statistics.median(each[name].cpu_us / each["no-op"].cpu_us for each in rounds)
    times = f"p50 {middle('p50_ms'):5.1f} p99 {middle('p99_ms'):5.1f} ms"
    return f"{middle('cpu_us'):6.1f} us  x{ratio:4.2f}  {middle('rate'):6.0f}/s  {times}"


@contextmanager
def _served(server: Server, folder: Path) -> Iterator[Served]:
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [word.format(port=port, folder=folder) for word in server.command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=_environ(server, port, folder),
    )
    try:
        yield _ready(process, port)
    finally:
        process.terminate()
        process.wait(READY_S)


def _environ(server: Server, port: int, folder: Path) -> dict[str, str]:
    """The environment of a server; nothing of whoever runs the tests sets anything up."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")}
    given = {
        name: value.replace("{port}", str(port)).replace("{folder}", str(folder))
        for name, value in server.variables.items()
    }
    return {**outside, **given, "PYTHONPATH": os.pathsep.join(sys.path)}


def _ready(process: "subprocess.Popen[bytes]", port: int) -> Served:
    """The server when its first load was answered: the streams are made, and the producer has its id."""
    until = time.monotonic() + READY_S
    while True:
        assert process.poll() is None, "the server ended"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        try:
            served = Served(port=port, worker=int(children[0]))
            served.loaded(1, 1)
        except (IndexError, AssertionError):
            assert time.monotonic() < until, "the server is not ready"
            time.sleep(0.1)
        else:
            return served


def _cpu_s(pid: int) -> float:
    """User and system time of a process so far, of all its threads."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS
