"""`forebay up` as a person runs it."""

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.answers import metrics_of

HANDLERS = """
import os

from forebay import Handlers

handlers = Handlers()
book = os.open("handled.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)


@handlers.on("*")
async def handle(event):
    os.write(book, f"{event.id}\\n".encode())
"""


HOLDS_UP = """
import os
import time

from forebay import Handlers

handlers = Handlers()


@handlers.on("*")
async def handle(event):
    while not os.path.exists("go on"):
        time.sleep(0.05)
"""

HANDLED = 'forebay_events_handled_total{handler="shop:handle",outcome="done"}'


def test_up_takes_sends_handles_and_stops(site: Any) -> None:
    (site.folder / "shop.py").write_text(HANDLERS)
    # A user's file may be called as one of the standard library's: it is not in our way.
    (site.folder / "queue.py").write_text("raise RuntimeError('this is mine')\n")
    site.start("up", "up", "shop:handlers", "--processes", "2")
    site.wait("ready", lambda: "ready after" in site.log("up"))

    sent = site.run("send", "--portals", "50", "--count", "2000", "--json")

    report = json.loads(sent.stdout)
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert report["answers"] == {"200 accepted": 2000}
    assert (report["checked"], report["lost"], report["out_of_order"]) == (True, 0, 0)
    site.wait("the last event", lambda: len(site.handled()) >= 2000)
    # A worker tells what it did a moment later.
    site.wait("the worker's metrics", lambda: HANDLED in metrics_of(site.port))
    metrics = metrics_of(site.port)
    assert "forebay_ingest_requests_total" in metrics
    assert metrics.count("\nforebay_build_info{") == 1
    assert site.stop("up") == 0
    assert len(set(site.handled())) == len(site.handled()) == 2000
    lag = [json.loads(line) for line in site.run("lag", "--json").stdout.splitlines()]
    assert {(row["records"], row["owner"]) for row in lag} == {(0, None)}


def test_up_without_handlers_prints_each_event(site: Any) -> None:
    body = site.folder / "body.txt"
    body.write_text("event=ONCRMDEALADD&data[FIELDS][ID]=7&auth[domain]=one.bitrix24.example")
    site.start("up", "up")
    site.wait("ready", lambda: "ready after" in site.log("up"))

    sent = site.run("send", "--file", str(body))

    assert sent.returncode == 0
    assert sent.stdout.startswith('200 {"status":"accepted"')
    site.wait("the event", lambda: "one.bitrix24.example  ONCRMDEALADD  {'FIELDS': {'ID': '7'}}" in site.log("up"))
    shown = site.run("tail", "--from", "earliest", "--count", "1", "--json")
    assert json.loads(shown.stdout)["fields"]["data[FIELDS][ID]"] == "7"
    assert site.stop("up") == 0


def test_wrong_handlers_end_up_with_status_2_and_the_reason(site: Any) -> None:
    up = site.start("up", "up", "nowhere:handlers")

    assert up.wait(60) == 2
    assert "there is no module nowhere" in site.log("up")


@pytest.mark.parametrize("command", ["up", "ingest"])
def test_an_address_that_is_taken_ends_a_command_with_status_2(site: Any, command: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", site.port))
        taken.listen()
        started = site.start(command, command)

        assert started.wait(60) == 2
    assert f"bind 127.0.0.1:{site.port} is in use by another process; stop it" in site.log(command)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the children in /proc")
def test_an_ingest_that_is_killed_comes_back(site: Any) -> None:
    up = site.start("up", "up")
    site.wait("ready", lambda: "ready after" in site.log("up"))
    children = Path(f"/proc/{up.pid}/task/{up.pid}/children").read_text().split()
    ingest = next(pid for pid in children if Path(f"/proc/{pid}/cmdline").read_text().endswith("\0ingest\0"))

    os.kill(int(ingest), signal.SIGKILL)

    site.wait("the news", lambda: "ingest was ended by SIGKILL" in site.log("up"))
    site.wait("a second start", lambda: site.log("up").count("the queue is open") == 2)
    assert site.run("send", "--count", "100").returncode == 0
    assert site.stop("up") == 0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the children in /proc")
def test_the_children_end_when_up_is_killed(site: Any) -> None:
    up = site.start("up", "up")
    site.wait("ready", lambda: "ready after" in site.log("up"))
    children = Path(f"/proc/{up.pid}/task/{up.pid}/children").read_text().split()

    os.kill(up.pid, signal.SIGKILL)

    assert len(children) == 2
    site.wait("their end", lambda: not any(_runs(child) for child in children))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the children in /proc")
def test_up_is_not_ready_while_a_killed_worker_owns_the_partitions(site: Any) -> None:
    site.settings["session_s"] = "8"
    first = site.start("first", "up")
    site.wait("ready", lambda: "ready after" in site.log("first"))
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    owned = {json.loads(line)["owner"] for line in site.run("lag", "--json").stdout.splitlines()}
    for pid in [first.pid, *map(int, children)]:
        os.kill(pid, signal.SIGKILL)
    site.wait("their end", lambda: not any(_runs(child) for child in children))
    first.wait()

    site.start("second", "up")

    site.wait("ready", lambda: "ready after" in site.log("second"))
    now = {json.loads(line)["owner"] for line in site.run("lag", "--json").stdout.splitlines()}
    assert not now & owned
    assert site.stop("second") == 0


def test_a_worker_whose_handler_holds_up_the_event_loop_is_seen_in_the_metrics(site: Any) -> None:
    (site.folder / "shop.py").write_text(HOLDS_UP)
    site.start("up", "up", "shop:handlers")
    site.wait("ready", lambda: "ready after" in site.log("up"))
    assert site.run("send", "--count", "1").returncode == 0

    site.wait("its age", lambda: _poll_age_s(metrics_of(site.port)) > 10)
    (site.folder / "go on").touch()
    site.wait("its end", lambda: _poll_age_s(metrics_of(site.port)) < 10)

    assert site.stop("up") == 0


def _poll_age_s(metrics: str) -> float:
    [line] = [line for line in metrics.splitlines() if line.startswith("forebay_poll_age_seconds ")]
    return float(line.rpartition(" ")[2])


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
