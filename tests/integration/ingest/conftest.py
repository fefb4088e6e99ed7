"""A real ingest: gunicorn in a process of its own, on a free port, with SQLite in a fresh folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from forebay.ingest.settings import IngestSettings
from forebay.queues.contract import StoredRecord
from forebay.queues.opening import open_queue
from tests.answers import called
from tests.ports import free_ports
from tests.spool.world import World

TOKEN = "51856fefc120afa4b628cc82d3935cce"

#: gunicorn's parser in C, which not every machine can build, and the one in Python: what is not to be imported.
C_PARSER = "gunicorn_h1c"
PARSERS: dict[str, tuple[str, ...]] = {"c": (), "python": (C_PARSER,)}

#: What its process runs.
SERVE = """
import json, sys
for name in sys.argv[2:]:
    sys.modules[name] = None
from forebay.ingest.server import serve
from forebay.ingest.settings import IngestSettings
serve(IngestSettings(**json.loads(sys.argv[1])))
"""

#: A machine that is busy with other tests needs its time to start Python twice.
_START_S = 30.0


@dataclass(kw_only=True)
class Served:
    """An ingest that runs."""

    port: int
    process: "subprocess.Popen[bytes]"
    settings: dict[str, Any]
    log: Path
    host: str = "127.0.0.1"

    def call(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body of the answer."""
        return called(f"http://{self.host}:{self.port}{path}", body, headers)

    def raw(self, *pieces: bytes, timeout_s: float = 20.0) -> bytes:
        """Everything that the server sends back until it closes, or has sent what can be the end of an answer."""
        with self.connection(timeout_s) as connection:
            for piece in pieces:
                try:
                    connection.sendall(piece)
                except (ConnectionResetError, BrokenPipeError):
                    break
            return read_answer(connection)

    def connection(self, timeout_s: float = 20.0) -> socket.socket:
        """A connection of one's own."""
        return socket.create_connection((self.host.strip("[]"), self.port), timeout=timeout_s)

    def workers(self) -> list[int]:
        """The ids of the worker processes."""
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; its exit status."""
        self.process.send_signal(how)
        return self.process.wait(30)

    async def stored(self, suffix: str = "") -> list[StoredRecord]:
        """What stands in the queue, in order within each partition."""
        inspector = open_queue(IngestSettings(**self.settings)).inspector()
        try:
            stream = f"bitrix24.events{suffix}"
            bounds = await inspector.bounds(stream)
            found = [await inspector.read(stream, number, at.start, 10_000) for number, at in sorted(bounds.items())]
            return [record for records in found for record in records]
        finally:
            await inspector.close()


def event(number: int, portal: str = "a.bitrix24.ru") -> bytes:
    """The body of a call."""
    return (
        f"event=ONCRMDEALADD&data[FIELDS][ID]={number}&auth[domain]={portal}&auth[application_token]={TOKEN}"
    ).encode()


def request(body: bytes) -> bytes:
    """The call, as its bytes."""
    return b"POST /bitrix24 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def read_answer(connection: socket.socket) -> bytes:
    """One answer: to the end of its declared body, or to the end of the connection."""
    got = b""
    while not _is_whole(got):
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            break
        if not piece:
            break
        got += piece
    return got


def _is_whole(got: bytes) -> bool:
    head, end, body = got.partition(b"\r\n\r\n")
    declared = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(end) and bool(declared) and len(body) >= int(declared[0])


def free_port() -> int:
    """A port that nobody uses just now."""
    [port] = free_ports(1)
    return port


Start = Callable[..., Served]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts ingests, `without` some importable modules, and ends those that run when the module's tests are done.

    What their process runs may be another `script`.
    """
    running: list[Served] = []

    def _start(
        *, without: tuple[str, ...] = (), host: str = "127.0.0.1", script: str = SERVE, **settings: Any
    ) -> Served:
        folder = tmp_path_factory.mktemp("ingest")
        port = free_port()
        settings = {"bind": f"{host}:{port}", "data_dir": str(folder), "drain_s": 10, **settings}
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", script, json.dumps(settings), *without],
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        served = Served(port=port, process=process, settings=settings, log=log, host=host)
        running.append(served)
        _wait_until_ready(served)
        return served

    yield _start
    for served in running:
        if served.process.poll() is None:
            served.process.kill()
            for worker in served.workers():
                os.kill(worker, signal.SIGKILL)
            served.process.wait(10)


def _wait_until_ready(served: Served) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if served.process.poll() is not None:
            break
        try:
            if served.call("/ready")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    served.process.kill()
    raise AssertionError(f"the ingest was not ready: {served.log.read_text()}")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A spool in front of an unreliable queue."""
    made = World(folder=tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def full_world(tmp_path: Path) -> AsyncIterator[World]:
    """The same with a spool that has no room for a record."""
    made = World(folder=tmp_path, max_bytes=10)
    yield made
    await made.close()
