"""What strangers do to the surroundings of a `forebay` process while it runs."""

import json
import os
import select
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.answers import called

HANDLERS = """
import os

from forebay import Handlers

handlers = Handlers()
book = os.open("handled.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)


@handlers.on("*")
def handle(event):
    os.write(book, f"{event.id}\\n".encode())
"""


def children(parent: int, of: str) -> list[int]:
    """Those whose command line ends so."""
    found = map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return [pid for pid in found if Path(f"/proc/{pid}/cmdline").read_text().endswith(f"\0{of}\0")]


def test_a_module_that_changes_the_working_directory_changes_no_queue(site: Any, tmp_path: Path) -> None:
    site.settings["data_dir"] = "data"
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (site.folder / "shop.py").write_text(f"{HANDLERS}\nos.chdir({str(elsewhere)!r})\n")
    site.start("up", "up", "shop:handlers")
    site.wait("ready", lambda: "ready after" in site.log("up"))

    assert site.run("send", "--portals", "3", "--count", "10", "--json").returncode == 0

    site.wait("every event", lambda: len(site.handled()) == 10)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("later", [None, "topic = ", 'data_dir = "other"\ntopic = "other"\nbind = "127.0.0.1:1"'])
def test_who_is_started_again_has_the_settings_of_the_start(site: Any, later: str | None) -> None:
    config = site.folder / "forebay.toml"
    config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in site.settings.items()))
    given, site.settings = site.settings, {}
    (site.folder / "shop.py").write_text(HANDLERS)
    up = site.start("up", "up", "shop:handlers")
    site.settings = given
    site.wait("ready", lambda: "ready after" in site.log("up"))

    if later is None:
        config.unlink()
    else:
        config.write_text(later)
    for pid in [*children(up.pid, "ingest"), *children(up.pid, "worker 1")]:
        os.kill(pid, signal.SIGKILL)
    site.wait("their ends", lambda: site.log("up").count("is started again") == 2)
    site.wait("another ingest", lambda: site.log("up").count("Listening at") == 2 and site.is_ready())

    config.unlink(missing_ok=True)
    assert site.run("send", "--portals", "3", "--count", "10").returncode == 0
    site.wait("every event", lambda: len(site.handled()) == 10)
    assert site.stop("up") == 0


def test_what_somebody_has_set_up_of_our_libraries_for_himself_changes_nothing(site: Any) -> None:
    (site.folder / "shop.py").write_text(HANDLERS)
    site.variables |= {
        "PROMETHEUS_MULTIPROC_DIR": "/nowhere",
        "WEB_CONCURRENCY": "",
        "GUNICORN_FD": "0",
        "GUNICORN_PID": "none",
        "FORWARDED_ALLOW_IPS": "proxy",
    }
    site.start("ingest", "ingest")
    site.start("process", "process", "shop:handlers")
    site.wait("the ingest", site.is_ready)

    assert site.run("send", "--portals", "3", "--count", "10").returncode == 0

    site.wait("every event", lambda: len(site.handled()) == 10)


@pytest.mark.parametrize(
    ("leaves", "told"),
    [
        ("import threading\nthreading.Thread(target=threading.Event().wait, name='stays').start()", '["stays"]'),
        ("import atexit, threading\natexit.register(threading.Event().wait)", "a function of atexit"),
    ],
)
def test_nothing_that_a_module_leaves_behind_keeps_a_worker_from_ending(site: Any, leaves: str, told: str) -> None:
    site.settings["drain_s"] = "0.2"
    (site.folder / "shop.py").write_text(f"{HANDLERS}\n{leaves}\n")
    site.start("process", "process", "shop:handlers")
    site.wait("the worker", lambda: "partitions assigned" in site.log("process"))

    assert site.stop("process") == 0

    assert told in site.log("process") and "left behind" in site.log("process")


def test_a_module_that_can_not_be_imported_ends_its_process_though_it_has_begun_a_thread(site: Any) -> None:
    site.settings["drain_s"] = "0.2"
    begun = "import threading\nthreading.Thread(target=threading.Event().wait).start()\nraise RuntimeError('no luck')\n"
    (site.folder / "shop.py").write_text(begun)

    process = site.start("process", "process", "shop:handlers")

    assert process.wait(60) != 0
    assert "no luck" in site.log("process")


def test_a_worker_without_grace_ends_by_itself_and_says_why_where_it_could_not_start(site: Any) -> None:
    site.settings["drain_s"] = "0"
    (site.folder / "shop.py").write_text(HANDLERS)
    site.start("process", "process", "shop:handlers")
    site.wait("the worker", lambda: "partitions assigned" in site.log("process"))

    assert site.stop("process") == 0
    refused = site.run("process", "shop:nobody")

    assert refused.returncode == 2
    assert "nobody" in refused.stderr
    assert "left behind" not in site.log("process") + refused.stderr


def test_the_end_of_its_terminal_stops_a_worker_as_sigterm_does(site: Any) -> None:
    (site.folder / "shop.py").write_text(HANDLERS)
    worker = site.start("process", "process", "shop:handlers")
    site.wait("the worker", lambda: "partitions assigned" in site.log("process"))

    worker.send_signal(signal.SIGHUP)

    assert worker.wait(60) == 0
    assert "partitions revoked" in site.log("process")


def test_a_log_that_nobody_reads_keeps_neither_a_call_nor_an_event_nor_a_stop_waiting(site: Any) -> None:
    (site.folder / "shop.py").write_text(f"{HANDLERS}    print(event.id)\n")
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb"):
        up = site.start("up", "up", "shop:handlers", output=writing)
        site.wait("the worker", lambda: site.is_ready() and site.run("send", "--count", "1").returncode == 0)
        site.wait("an event", lambda: len(site.handled()) == 1)
        while select.select([], [writing], [], 0)[1]:
            os.write(writing, b"." * select.PIPE_BUF)

        # Anybody can have the ingest say something.
        assert called(site.url, b"", {"X-Long": "." * 9000}, timeout_s=30)[0] == 431
        assert site.run("send", "--portals", "3", "--count", "10").returncode == 0

        site.wait("every event", lambda: len(site.handled()) == 11)
        up.send_signal(signal.SIGTERM)
        assert up.wait(60) == 0


LOGS_OF_ITS_OWN = """
import structlog

from forebay import Reject


def with_the_order(logger, level, words):
    if level in ("warning", "error"):
        # What the application says has it always.
        words["order"] = words["order_id"]
    return words


structlog.configure(processors=[with_the_order, structlog.processors.JSONRenderer()])


@handlers.on("ONCRMDEALDELETE")
def refuse(event):
    structlog.get_logger().info("a line of the application")
    raise Reject("none: access_token=acce55ible-0123")
"""


def test_what_an_application_makes_of_structlog_ends_no_worker_and_shows_no_secret(site: Any) -> None:
    (site.folder / "shop.py").write_text(HANDLERS + LOGS_OF_ITS_OWN)
    site.start("ingest", "ingest")
    worker = site.start("process", "process", "shop:handlers")
    site.wait("the ingest", site.is_ready)
    refused = b"event=ONCRMDEALDELETE&data[FIELDS][ID]=7&auth[domain]=one.bitrix24.example"

    assert called(site.url, refused)[0] == 200
    assert called(site.url, refused.replace(b"DELETE", b"ADD"))[0] == 200

    site.wait("the event behind it", lambda: len(site.handled()) == 1)
    assert site.stop("process") == worker.returncode == 0
    lines = [json.loads(line) for line in site.log("process").splitlines()]
    assert {"event": "a line of the application"} in lines
    (told,) = [line for line in lines if line["event"] == "given up: dead letter written"]
    assert told["timestamp"] and told["error"] == "none: access_token=***"
