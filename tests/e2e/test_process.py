"""`forebay process` alone: several workers, their metrics, and handlers that don't end."""

import asyncio
import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from forebay.console.settings import load_settings
from forebay.processors.testing import event
from forebay.queues.contract import Record
from forebay.queues.opening import open_queue
from forebay.schemas.codec import codec
from forebay.schemas.names import streams
from tests.answers import called, metrics_of
from tests.ports import free_ports

HANDLERS = """
import os
import threading

from forebay import Handlers

handlers = Handlers()
book = os.open("handled.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)


@handlers.on("*")
async def handle(event):
    os.write(book, f"{event.id}\\n".encode())


@handlers.on("ONTASKADD")
def hang(event):
    os.write(book, b"hangs\\n")
    threading.Event().wait()
"""

DEAF = """
import asyncio

from forebay import Handlers

handlers = Handlers()


@handlers.on("*")
async def hang(event):
    print("hangs")
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("deaf")
"""

BREAKS = """
import asyncio
import threading

from forebay import Handlers
from forebay.processors.worker import Worker

handlers = Handlers()
hangs = threading.Event()


@handlers.on("*", group=GROUP)
def hang(event):
    hangs.set()
    threading.Event().wait()


@handlers.on("ONNEVER")
async def handle(event):
    ...


async def broken(self):
    while not hangs.is_set() or self._settings.group != "forebay":
        await asyncio.sleep(0.01)
    raise RuntimeError("a fault of ours")


Worker._commit_regularly = broken
"""


HOLDS_UP = """
import os
import time

from forebay import Handlers

handlers = Handlers()


@handlers.on("*", deadline_s=3600)
async def hold_up(event):
    print("holds up")
    while not os.path.exists("go on"):
        time.sleep(0.05)
"""


async def put(site: Any, *codes: str) -> None:
    settings = load_settings(options={"data_dir": site.settings["data_dir"]}, environ={}).settings
    queue = open_queue(settings)
    await queue.ensure(streams(settings.topic), settings.partitions)
    producer = queue.producer()
    for number, code in enumerate(codes):
        made = event(code, portal=f"portal-{number}.bitrix24.example")
        now_ms = round(datetime.now(UTC).timestamp() * 1000)
        await producer.send(settings.topic, Record(key=made.portal, value=codec().encode(made), timestamp_ms=now_ms))
    await producer.close()
    await queue.close()


def handled_in_all(port: int) -> float:
    found = re.findall(r"^forebay_events_handled_total\{.*\} (.*)$", metrics_of(port), re.MULTILINE)
    return sum(float(value) for value in found)


def readiness(port: int) -> str:
    return called(f"http://127.0.0.1:{port}/ready")[1].decode()


def test_several_workers_share_the_work_and_their_metrics(site: Any) -> None:
    [port] = free_ports(1)
    site.settings["metrics_bind"] = f"127.0.0.1:{port}"
    (site.folder / "shop.py").write_text(HANDLERS)
    asyncio.run(put(site, *["ONCRMDEALADD"] * 100))
    site.start("process", "process", "shop:handlers", "--processes", "2")

    site.wait("every event", lambda: len(site.handled()) == 100)

    site.wait("the metrics", lambda: handled_in_all(port) == 100)
    site.wait("both workers", lambda: '"status":"ok"' in readiness(port))
    assert '"worker 2":{"state":"ok"' in readiness(port)
    assert metrics_of(port).count("\nforebay_build_info{") == 1
    assert site.stop("process") == 0


def test_a_handler_that_never_ends_keeps_no_process_from_stopping(site: Any) -> None:
    site.settings["drain_s"] = "0.2"
    (site.folder / "shop.py").write_text(HANDLERS)
    asyncio.run(put(site, "ONTASKADD"))
    site.start("process", "process", "shop:handlers")
    site.wait("the handler", lambda: site.handled() == ["hangs"])

    assert site.stop("process") == 0
    assert "1 handlers did not end" in log_of(site)[-1]["event"]


def test_a_handler_that_hears_no_cancellation_keeps_no_process_from_stopping(site: Any) -> None:
    site.settings["drain_s"] = "0.2"
    (site.folder / "shop.py").write_text(DEAF)
    asyncio.run(put(site, "ONTASKADD"))
    site.start("process", "process", "shop:handlers")
    site.wait("the handler", lambda: "hangs" in site.log("process"))

    assert site.stop("process") == 0
    assert "1 handlers did not end" in site.log("process")


@pytest.mark.parametrize("group", [None, "audit"])
def test_a_worker_that_fails_ends_its_process_though_a_handler_never_ends(site: Any, group: str | None) -> None:
    site.settings["drain_s"] = "0.2"
    (site.folder / "shop.py").write_text(BREAKS.replace("GROUP", repr(group)))
    asyncio.run(put(site, "ONTASKADD"))
    process = site.start("process", "process", "shop:handlers")

    assert process.wait(60) == 1

    assert "RuntimeError: a fault of ours" in site.log("process")
    assert "1 handlers did not end" in site.log("process")


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_worker_whose_handler_holds_it_up_is_seen_from_outside(site: Any, processes: str) -> None:
    [port] = free_ports(1)
    site.settings["metrics_bind"] = f"127.0.0.1:{port}"
    (site.folder / "shop.py").write_text(HOLDS_UP)
    asyncio.run(put(site, "ONTASKADD"))
    site.start("process", "process", "shop:handlers", "--processes", processes)
    site.wait("the handler", lambda: "holds up" in site.log("process"))

    site.wait("its age", lambda: poll_age_s(port) > 15)

    status, told = called(f"http://127.0.0.1:{port}/live")
    assert status == 503
    assert b"has said nothing for" in told
    # One that is held up hears of nothing, not even that its parent is gone.
    (site.folder / "go on").touch()
    assert site.stop("process") == 0


def poll_age_s(port: int) -> float:
    """That of the alert; none where nobody answers."""
    with suppress(OSError):
        found = re.findall(r"^forebay_poll_age_seconds (.*)$", metrics_of(port), re.MULTILINE)
        return max(map(float, found), default=0.0)
    return 0.0


def test_what_becomes_of_a_worker_is_a_line_like_its_own(site: Any) -> None:
    (site.folder / "shop.py").write_text(HANDLERS.replace('b"hangs\\n")', 'b"hangs\\n")\n    os.kill(os.getpid(), 9)'))
    asyncio.run(put(site, "ONTASKADD"))
    site.start("process", "process", "shop:handlers", "--processes", "2")

    site.wait("its end", lambda: "is started again" in site.log("process"))

    (line, *_) = [line for line in log_of(site) if "is started again" in line["event"]]
    assert "was ended by SIGKILL" in line["event"] and line["level"] == "warning"


def test_a_way_into_kafka_that_can_not_work_stops_the_start(site: Any) -> None:
    (site.folder / "shop.py").write_text(HANDLERS)
    given = {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": "forebay"}
    site.settings |= {"queue_url": "kafka://127.0.0.1:9", "kafka": json.dumps(given)}

    ended = [site.run("ingest"), *(site.run("process", "shop:handlers", "--processes", number) for number in "12")]

    assert [one.returncode for one in ended] == [2, 2, 2]
    for one in ended:
        assert "forebay: the setting kafka can't be used: Kafka: sasl.username and sasl.password must be" in one.stderr


def test_a_file_of_the_way_into_kafka_that_is_not_there_is_named_and_may_come_yet(site: Any) -> None:
    given = {"security.protocol": "SSL", "ssl.ca.location": "/nowhere/ca.pem"}
    site.settings |= {"queue_url": "kafka://127.0.0.1:9", "kafka": json.dumps(given)}
    (site.folder / "shop.py").write_text(HANDLERS)

    ended = [site.run("ingest"), *(site.run("process", "shop:handlers", "--processes", number) for number in "12")]

    # systemd starts again who ends like this, and nobody who ends by wrong settings.
    assert [one.returncode for one in ended] == [1, 1, 1]
    told = "forebay: the setting kafka can't be used: ssl.ca.location: /nowhere/ca.pem can't be read"
    assert [one.stderr.count(told) for one in ended] == [1, 1, 1]


def log_of(site: Any) -> list[dict[str, Any]]:
    """Every line that was written to its end; all of them are JSON."""
    return [json.loads(line) for line in site.log("process").splitlines()]
