"""An event that ends its worker's process, each time: it is found out and given up, and everybody else's get done."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from forebay.console.settings import load_settings
from forebay.processors.testing import event
from forebay.queues.contract import Record
from forebay.queues.opening import open_queue
from forebay.schemas.codec import codec
from forebay.schemas.names import streams

PORTALS = 40
EVENTS = 6
CRASHES = "portal-7.bitrix24.example"

#: Every portal's events are at work at the same time when one of them ends the process.
COMMON = """
import asyncio
import os
import time

from forebay import Handlers

handlers = Handlers()
book = os.open("handled.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)


def handle(event):
    if event.name == "ONTASKADD":
        os.abort()
    os.write(book, f"{event.portal} {event.data['N']}\\n".encode())
"""

ONE_BY_ONE = """
@handlers.on("*")
async def awaits(event):
    await asyncio.sleep(0.02)
    handle(event)
"""

IN_THREADS = """
@handlers.on("*")
def waits(event):
    time.sleep(0.02)
    handle(event)
"""

IN_LISTS = """
@handlers.on("*", batch=4)
async def awaits(events):
    await asyncio.sleep(0.02)
    for event in events:
        handle(event)
"""

OF_TWO_GROUPS = """
@handlers.on("*")
async def awaits(event):
    await asyncio.sleep(0.02)
    handle(event)


@handlers.on("*", group="audit")
async def audits(event):
    await asyncio.sleep(0.02)
"""


KINDS = ["one-by-one", "threads", "lists", "two-groups"]


async def put(site: Any) -> None:
    settings = load_settings(options={"data_dir": site.settings["data_dir"]}, environ={}).settings
    queue = open_queue(settings)
    await queue.ensure(streams(settings.topic), settings.partitions)
    producer = queue.producer()
    for number in range(EVENTS):
        for portal in range(PORTALS):
            key = f"portal-{portal}.bitrix24.example"
            crashes = key == CRASHES and number == 2
            made = event("ONTASKADD" if crashes else "ONCRMDEALADD", data={"N": str(number)}, portal=key)
            now_ms = round(datetime.now(UTC).timestamp() * 1000)
            await producer.send(settings.topic, Record(key=key, value=codec().encode(made), timestamp_ms=now_ms))
    await producer.close()
    await queue.close()


def handled(site: Any) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for line in site.handled():
        portal, number = line.split()
        # Some come again, whenever the process is ended.
        if int(number) not in found.setdefault(portal, []):
            found[portal].append(int(number))
    return found


def expected() -> dict[str, list[int]]:
    every = {f"portal-{number}.bitrix24.example": list(range(EVENTS)) for number in range(PORTALS)}
    every[CRASHES].remove(2)
    return every


def dead(site: Any) -> list[dict[str, Any]]:
    run = site.run("dead", "list", "--json")
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.mark.parametrize("handlers", [ONE_BY_ONE, IN_THREADS, IN_LISTS, OF_TWO_GROUPS], ids=KINDS)
def test_an_event_that_ends_its_worker_each_time_is_a_dead_letter(site: Any, handlers: str) -> None:
    site.settings["session_s"] = "2"
    (site.folder / "shop.py").write_text(COMMON + handlers)
    asyncio.run(put(site))

    deaths = 0
    while handled(site) != expected():
        ended = site.start("process", "process", "shop:handlers").poll
        site.wait("the end", lambda ended=ended: ended() is not None or handled(site) == expected())
        deaths += ended() is not None
        assert deaths < 12
    assert site.stop("process") == 0

    [letter] = dead(site)
    assert (letter["portal"], letter["name"]) == (CRASHES, "ONTASKADD")
    # Five where no partition is lost meanwhile, as it is by a machine that stands still for a session.
    assert deaths in (5, 6, 7)
    assert not list((site.folder / "data" / "workers").iterdir())


def test_workers_that_are_supervised_find_it_out_together(site: Any) -> None:
    site.settings["session_s"] = "1"
    (site.folder / "shop.py").write_text(COMMON + ONE_BY_ONE)
    asyncio.run(put(site))
    site.start("process", "process", "shop:handlers", "--processes", "2")

    site.wait("every event", lambda: handled(site) == expected())

    assert site.stop("process") == 0
    assert [letter["name"] for letter in dead(site)] == ["ONTASKADD"]
