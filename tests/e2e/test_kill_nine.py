"""Processes die at random, and the promises hold: 2 (order of a portal), 7, 8 and 11 of the README's list."""

import asyncio
import os
import signal
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from forebay.console.reading import inspected, opened
from forebay.console.settings import load_settings
from forebay.console.traffic.connection import target_of
from forebay.console.traffic.load import Load, Plan, portal_numbers
from forebay.console.traffic.send_audit import Audit, check
from forebay.console.traffic.simulated import Bodies
from forebay.queues.contract import Inspector
from forebay.queues.reading import between
from forebay.schemas.codec import codec

PORTALS = 50
EVENTS = 5000
KILLS = 16
#: Long enough for several workers, of which each has to be started, and waits for the session of the one before.
RATE = 300.0
SEED = 20_260_301

HANDLERS = """
import asyncio
import os
import random

from forebay import Handlers

handlers = Handlers()
book = os.open("handled.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)


@handlers.on("*")
async def handle(event):
    line = f"{event.portal} {event.fields['data[FIELDS][ID]']} {event.id} {os.getpid()}\\n"
    os.write(book, b"began " + line.encode())
    await asyncio.sleep(random.random() * 0.01)
    os.write(book, b"ended " + line.encode())
"""


@dataclass(kw_only=True)
class Line:
    """A line of the handlers' book."""

    what: str
    portal: str
    sequence: int
    id: str
    pid: int


@dataclass(kw_only=True)
class Killings:
    """Who was killed, and what each partition's group had surely committed by then."""

    pids: list[int] = field(default_factory=list)
    committed: dict[int, dict[int, int]] = field(default_factory=dict)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def book(site: Any) -> list[Line]:
    words = [line.split() for line in site.handled()]
    return [Line(what=w, portal=p, sequence=int(s), id=i, pid=int(pid)) for w, p, s, i, pid in words]


async def kill_at_random(load: Load, parents: dict[str, int], inspector: Inspector, topic: str) -> Killings:
    """Kill a child of each parent in turn, at moments spread over the load; a worker when there are new commits."""
    rng, killings, committed = Random(SEED), Killings(), -1
    moments = sorted(rng.sample(range(EVENTS // 20, EVENTS * 19 // 20), KILLS))
    for number, moment in enumerate(moments):
        while load.outcome.sent < moment:
            await asyncio.sleep(0.01)
        parent = list(parents)[number % len(parents)]
        victims = children(parents[parent])
        if not victims:
            continue
        victim = rng.choice(victims)
        states = (await inspector.groups(topic)).get("forebay", {})
        total = sum(state.offset for state in states.values())
        if parent == "workers":
            if total == committed:
                # On a slow machine nobody would live long enough to handle anything.
                continue
            committed = total
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            killings.pids.append(victim)
            killings.committed[victim] = {partition: state.offset for partition, state in states.items()}
    return killings


async def queue_order(inspector: Inspector, topic: str) -> tuple[dict[str, list[str]], dict[str, tuple[int, int]]]:
    """Each portal's ids as they stand in the queue, and where each id stands first."""
    order: dict[str, list[str]] = defaultdict(list)
    places: dict[str, tuple[int, int]] = {}
    for partition, bounds in (await inspector.bounds(topic)).items():
        async for record in between(inspector, topic, partition, bounds.start, bounds.end):
            event = codec().decode(record.value)
            if event.id not in places:
                order[event.portal].append(event.id)
                places[event.id] = partition, record.offset
    return order, places


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes to kill in /proc")
@pytest.mark.timeout(240)
async def test_killed_processes_lose_nothing_and_keep_the_order_of_each_portal(site: Any) -> None:
    # On a slow machine no worker lives long enough for the usual interval of commits.
    site.settings |= {"ingest_processes": "2", "session_s": "3", "commit_interval_s": "0.1"}
    (site.folder / "shop.py").write_text(HANDLERS)
    ingest = site.start("ingest", "ingest")
    workers = site.start("process", "process", "shop:handlers", "--processes", "2")
    site.wait("the ingest", site.is_ready)
    options = {"data_dir": site.settings["data_dir"]}
    settings = load_settings(options=options, environ={}).settings
    rng = Random(SEED)
    bodies = Bodies(PORTALS, "any", rng)
    load = Load(Plan(count=EVENTS, rate=RATE, concurrency=16, zipf=None), target_of(site.url), bodies, rng)

    async with opened(settings) as queue, inspected(queue) as inspector:
        parents = {"ingest": ingest.pid, "workers": workers.pid}
        killing = asyncio.create_task(kill_at_random(load, parents, inspector, settings.topic))
        await load.run()
        killings = await killing
        accepted = load.outcome.accepted
        audit = Audit(accepted=accepted, numbers=portal_numbers(bodies.portals))
        await check(audit, inspector, settings.topic, {})
        order, places = await queue_order(inspector, settings.topic)
    site.wait("the last event", lambda: {line.id for line in book(site) if line.what == "ended"} >= set(places))
    statuses = site.stop("ingest"), site.stop("process")

    lines = book(site)
    ended = [line for line in lines if line.what == "ended"]
    first: dict[str, list[str]] = defaultdict(list)
    seen: set[str] = set()
    again: list[Line] = []
    for line in ended:
        if line.id in seen:
            again.append(line)
        else:
            seen.add(line.id)
            first[line.portal].append(line.id)
    print(f"{len(accepted)} accepted of {load.outcome.sent}, {len(killings.pids)} killed, {len(again)} again")
    print(load.outcome.answers)
    assert statuses == (0, 0)
    assert len(killings.pids) > KILLS // 2
    assert audit.clean
    assert set(accepted) <= seen
    assert first == order
    assert_nothing_committed_came_again(again, lines, places, killings)
    assert_one_at_a_time(lines, killings)


def assert_nothing_committed_came_again(
    again: list[Line], lines: list[Line], places: dict[str, tuple[int, int]], killings: Killings
) -> None:
    """A repeat follows a kill, and lies behind what its group had committed when its first worker was killed."""
    first_by: dict[str, int] = {}
    for line in lines:
        if line.what == "ended":
            first_by.setdefault(line.id, line.pid)
    totals = [sum(committed.values()) for committed in killings.committed.values()]
    assert totals[-1] > totals[0], "nothing was committed between the first and the last kill, so this shows nothing"
    for line in again:
        partition, offset = places[line.id]
        assert first_by[line.id] in killings.committed, f"{line} came again though its worker lived"
        assert offset >= killings.committed[first_by[line.id]].get(partition, 0), f"{line} had been committed"


def assert_one_at_a_time(lines: list[Line], killings: Killings) -> None:
    """Of a portal the next event begins when the one before has ended, or its worker is dead."""
    under_way: dict[str, Line] = {}
    for line in lines:
        other = under_way.pop(line.portal, None)
        if line.what == "began":
            assert other is None or other.pid in killings.pids, f"{line} began while {other} was under way"
            under_way[line.portal] = line
