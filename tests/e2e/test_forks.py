"""Handlers that fork processes, as `multiprocessing` does: what these are copies of goes on as before."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.answers import called
from tests.ports import free_ports

FORKS = """
import asyncio
import multiprocessing
import os
import sys
import time

from forebay import Handlers

handlers = Handlers()
book = os.open("handled.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)


def handle(event):
    forked = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,))
    forked.start()
    # As the end of a pool does it.
    forked.terminate()
    forked.join()
    os.write(book, f"{event.id} {forked.exitcode}\\n".encode())


def fork_by_hand(event):
    pid = os.fork()
    if pid == 0:
        sys.exit(7)
    os.write(book, f"{event.id} {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\\n".encode())


@handlers.on("ONCRMLEADADD")
def by_hand_in_a_thread(event):
    fork_by_hand(event)


@handlers.on("ONCRMLEADUPDATE")
async def by_hand_on_the_loop(event):
    fork_by_hand(event)


@handlers.on("ONCRMLEADDELETE")
async def by_hand_on_the_loop_later(event):
    await asyncio.sleep(0.01)
    fork_by_hand(event)


@handlers.on("ONCRMDEALADD")
def in_a_thread(event):
    handle(event)


@handlers.on("ONCRMDEALUPDATE", cpu=True)
def in_a_process(event):
    handle(event)
"""


@pytest.mark.parametrize("name", ["ONCRMDEALADD", "ONCRMDEALUPDATE"])
def test_a_process_that_a_handler_forks_is_ended_by_a_signal_and_the_worker_is_not(site: Any, name: str) -> None:
    (site.folder / "shop.py").write_text(FORKS)
    site.start("ingest", "ingest")
    worker = site.start("process", "process", "shop:handlers")
    site.wait("the ingest", site.is_ready)

    for number in range(3):
        body = f"event={name}&data[FIELDS][ID]=7&auth[domain]=portal-{number}.bitrix24.example"
        assert called(site.url, body.encode())[0] == 200

    site.wait("every event", lambda: len(site.handled()) == 3)
    assert {line.split()[1] for line in site.handled()} == {str(-signal.SIGTERM)}
    assert worker.poll() is None
    assert site.stop("process") == 0
    assert site.log("process").count("partitions revoked") == 1


STAYS = """
import multiprocessing
import os
import time

from forebay import Handlers

handlers = Handlers()
book = os.open("handled.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
# The events come again.
is_first = not os.fstat(book).st_size


@handlers.on("ONCRMDEALADD")
def in_a_thread(event):
    if is_first:
        forked = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,))
        forked.start()
        os.write(book, f"forked {forked.pid}\\n".encode())
        time.sleep(3600)


@handlers.on("ONCRMDEALUPDATE", cpu=True)
def in_a_process(event):
    if is_first:
        os.write(book, f"cpu {os.getpid()}\\n".encode())
        time.sleep(3600)
"""


@pytest.mark.parametrize("name", ["ONCRMLEADADD", "ONCRMLEADUPDATE", "ONCRMLEADDELETE"])
def test_a_process_that_a_handler_forks_by_hand_ends_with_its_own_status_and_does_nothing_of_ours(
    site: Any, name: str
) -> None:
    (site.folder / "shop.py").write_text(FORKS)
    site.start("ingest", "ingest")
    site.start("process", "process", "shop:handlers")
    site.wait("the ingest", site.is_ready)

    for number in range(3):
        body = f"event={name}&data[FIELDS][ID]=7&auth[domain]=portal-{number}.bitrix24.example"
        assert called(site.url, body.encode())[0] == 200

    site.wait("every event", lambda: len(site.handled()) == 3)
    assert {line.split()[1] for line in site.handled()} == {"7"}
    assert site.stop("process") == 0
    assert site.log("process").count("partitions revoked") == 1


def has_ended(pid: str) -> bool:
    """Also when nobody has asked for its status."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def test_what_outlives_a_worker_that_was_killed_keeps_nothing_of_its(site: Any) -> None:
    (site.folder / "shop.py").write_text(STAYS)
    site.start("ingest", "ingest")
    site.wait("the ingest", site.is_ready)
    (port,) = free_ports(1)
    site.settings["metrics_bind"] = f"127.0.0.1:{port}"
    worker = site.start("process", "process", "shop:handlers")
    for number, name in enumerate(("UPDATE", "ADD")):
        body = f"event=ONCRMDEAL{name}&data[FIELDS][ID]=7&auth[domain]=portal-{number}.bitrix24.example"
        assert called(site.url, body.encode())[0] == 200
        # The process of the second handler is there when the first one forks.
        site.wait("the handler", lambda: len(site.handled()) == number + 1)  # noqa: B023 - it is over with the call
    pids = dict(line.split() for line in site.handled())
    try:
        assert called(f"http://127.0.0.1:{port}/live")[0] == 200
        worker.kill()
        worker.wait(60)

        site.start("process", "process", "shop:handlers")

        site.wait("the end of the one with cpu=True", lambda: has_ended(pids["cpu"]))
        site.wait("the next worker", lambda: "partitions assigned" in site.log("process"))
        assert called(f"http://127.0.0.1:{port}/live")[0] == 200
        assert not has_ended(pids["forked"])
    finally:
        for pid in pids.values():
            if not has_ended(pid):
                os.kill(int(pid), signal.SIGKILL)
