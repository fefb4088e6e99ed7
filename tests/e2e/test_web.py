"""The operators' page as a process: under the server it has, and beside a queue that hangs and comes back."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from resource import RLIMIT_NOFILE, prlimit

import pytest

from forebay.console.settings import load_settings
from forebay.processors.testing import event
from forebay.queues.contract import Record
from forebay.queues.opening import open_queue
from forebay.schemas import names
from forebay.schemas.codec import codec
from tests.answers import called
from tests.kafka.cluster import Cluster
from tests.pages import Shown, shown
from tests.ports import free_ports

from .site import Site

PASSWORD = "a-password-that-is-long-enough"
PORTAL = "one.bitrix24.example"

#: As systemd starts a service: its socket is the third file.
HANDS_OVER = """
import os, sys

os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""

#: The page, which waits for a reader no longer than a test can.
IMPATIENT = """
import runpy, sys

from forebay.console.pages import protocol

protocol._READ_S = 0.5
sys.argv = ["forebay", *sys.argv[1:]]
runpy.run_module("forebay.console", run_name="__main__")
"""

#: Fewer than a shell gives a process, and more than the page needs.
_FILES = 64

HANDLERS = """
from forebay import Handlers, Reject

handlers = Handlers()


@handlers.on("*")
async def refuse(event):
    raise Reject("no stock")
"""


def page(port: int, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, Shown]:
    status, body = called(f"http://127.0.0.1:{port}{path}", headers=headers, timeout_s=60)
    return status, shown(body.decode())


def is_shown(port: int) -> bool:
    with suppress(OSError):
        return page(port, "/style.css")[0] == 200
    return False


def serving(site: Site, **settings: str) -> int:
    """Start it, and return its port when it answers."""
    [port] = free_ports(1)
    site.settings |= {"web_bind": f"127.0.0.1:{port}", **settings}
    site.start("web", "web")

    def lives() -> bool:
        try:
            return page(port, "/live")[0] == 200
        except OSError:
            return False

    site.wait("the page", lives)
    return port


def upgraded(port: int) -> bytes:
    """What who wants a WebSocket is answered."""
    words = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + words + b64encode(b"0" * 16) + b"\r\n\r\n")
        return connection.recv(1000)


def serves(site: Site) -> int:
    """The process that answers."""
    pid = site.running["web"].pid
    [found] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(found)


def held(pid: int) -> tuple[int, int]:
    """How many files and threads it has."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


def test_who_has_the_password_sees_what_was_given_up(site: Site) -> None:
    (site.folder / "shop.py").write_text(HANDLERS)
    (site.folder / "password").write_text(PASSWORD)
    site.start("up", "up", "shop:handlers")
    site.wait("the ingest", site.is_ready)
    body = f"event=ONCRMDEALADD&data[FIELDS][ID]=7&auth[domain]={PORTAL}&auth[access_token]=a-secret".encode()
    assert called(site.url, body)[0] == 200
    port = serving(site, web_password_file=str(site.folder / "password"))
    known = {"Authorization": f"Basic {b64encode(f'me:{PASSWORD}'.encode()).decode()}"}
    wrong = {"Authorization": f"Basic {b64encode(b'me:another-password').decode()}"}

    site.wait("the dead letter", lambda: bool(page(port, "/dead", known)[1].tables))
    found, text = page(port, f"/portals/{PORTAL}", known)[1], called(f"http://127.0.0.1:{port}/dead", headers=known)[1]
    refused = [page(port, "/dead", headers)[0] for headers in ({}, wrong)]

    assert [row["error"] for row in found.tables[1]] == ["no stock"]
    assert b"a-secret" not in text
    assert refused == [401, 401]
    assert site.stop("web") == 0
    assert "a wrong password" in site.log("web")
    assert PASSWORD not in site.log("web") and "another-password" not in site.log("web")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_as_it_is_told_to(site: Site, how: signal.Signals) -> None:
    port = serving(site)
    found = {host: page(port, "/style.css", {"Host": host})[0] for host in ("[::1]:80", "localhost", "evil.example")}

    refused = upgraded(port)
    site.running["web"].send_signal(how)

    assert site.running["web"].wait(60) == 0
    assert refused.startswith(b"HTTP/1.1 403 ")
    assert found == {"[::1]:80": 200, "localhost": 200, "evil.example": 403}
    assert "Traceback" not in site.log("web")


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: local"])
def test_who_says_nothing_keeps_nobody_out(site: Site, begun: bytes) -> None:
    port = serving(site)
    prlimit(serves(site), RLIMIT_NOFILE, (_FILES, _FILES))

    with ExitStack() as silent:
        first, *_ = [silent.enter_context(socket.create_connection(("127.0.0.1", port), 60)) for _ in range(_FILES)]
        first.sendall(begun)

        closed = first.recv(1) == b""
        site.wait("the page", lambda: is_shown(port))

    assert closed


async def put_letter(site: Site, text: str) -> None:
    settings = load_settings(options=site.settings, environ={}).settings
    queue = open_queue(settings)
    await queue.ensure(names.streams(settings.topic), settings.partitions)
    producer = queue.producer()
    value = codec().encode(event("ONCRMDEALADD", portal=PORTAL, id="large", data={"TEXT": text}))
    await producer.send(names.dead(settings.topic), Record(key=PORTAL, value=value, timestamp_ms=1_796_000_000_000))
    await producer.close()
    await queue.close()


def test_who_reads_nothing_of_a_page_is_let_go(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    # More than the kernel takes for a reader, where each of these is five characters.
    asyncio.run(put_letter(site, "&" * 1_000_000))
    monkeypatch.setattr(Site, "command", lambda _, *arguments: [sys.executable, "-c", IMPATIENT, *arguments])
    port = serving(site)
    assert len(called(f"http://127.0.0.1:{port}/dead/large")[1]) > 5_000_000
    before = held(serves(site))[0]

    with socket.create_connection(("127.0.0.1", port), 60) as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        silent.sendall(b"GET /dead/large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert silent.recv(1) == b"H"
        site.wait("its end", lambda: held(serves(site))[0] <= before)


def test_a_socket_of_systemd_that_others_reach_is_refused_without_a_password(site: Site) -> None:
    with socket.create_server(("0.0.0.0", 0)) as handed_over:  # noqa: S104 - as a .socket unit of the operator's has it
        command = [sys.executable, "-c", HANDS_OVER, str(handed_over.fileno()), *site.command("web")]
        found = subprocess.run(
            command,
            cwd=site.folder,
            env=site.environ,
            pass_fds=[handed_over.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert found.returncode == 2
    assert "not at web_bind 127.0.0.1:8090" in found.stderr


def test_a_queue_that_is_seen_by_one_process_alone_is_refused(site: Site) -> None:
    site.settings["queue_url"] = "memory://"

    found = site.run("web")

    assert found.returncode == 2
    assert "memory://" in found.stderr


@pytest.mark.kafka
def test_a_queue_that_hangs_is_told_and_seen_again_when_it_is_back(
    site: Site, clusters: Callable[..., Cluster]
) -> None:
    [broker] = (cluster := clusters()).nodes
    port = serving(site, queue_url=f"kafka://{cluster.bootstrap}", partitions="4")
    assert site.run("topics", "ensure").returncode == 0
    site.wait("the queue", lambda: page(port, "/")[1].texts["h2"][1:2] == ["Groups"])
    for number in range(3):
        page(port, f"/portals/before-{number}.bitrix24.example")
    before = held(serves(site))

    broker.signal(signal.SIGSTOP)
    # Another address than a moment ago, of which it knows the page.
    status, hanging = page(port, "/?group=anew")
    unavailable, told = page(port, "/dead")
    broker.signal(signal.SIGCONT)
    site.wait("the queue", lambda: page(port, "/")[1].texts["h2"][1:2] == ["Groups"])
    for number in range(10):
        assert page(port, f"/portals/after-{number}.bitrix24.example")[0] == 200

    assert status == 200
    assert [row["state"] for row in hanging.tables[0]] == ["fail"]
    assert "does not let us in" in hanging.tables[0][0]["detail"]
    assert unavailable == 503
    assert "Kafka" in told.texts["dd"][0]

    def has_no_more() -> bool:
        files, threads = held(serves(site))
        return files <= before[0] + 1 and threads <= before[1]

    # What has ended may be listed for a moment more.
    site.wait("the end of what hung", has_no_more)
