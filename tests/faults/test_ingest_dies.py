"""Processes of the ingest that die: in the middle of a group commit, or while they drain."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random

import pytest

from forebay.console.traffic.report import percentiles_ms
from tests.kafka.cluster import Cluster

from .failing import End, Failing
from .hosts import drainer
from .stand import LONG, SEED, SHORT, UNDECIDED, Size, Stand

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]

SIZES = pytest.mark.parametrize("size", [SHORT, pytest.param(LONG, marks=pytest.mark.faults)], ids=["short", "long"])

#: So long after a death calls may feel it: another process starts on the same processors.
_FELT_S = 0.05

#: Of the calls in which a process may die, it is one of the next so many: anywhere in the drain of a burst, or alone.
_CALLS = 8


async def die(stand: Stand, failing: Failing, how: End, calls: int) -> float:
    """Have a worker die in such a call, and return when another has taken its place: the moment of its death."""
    async with replaced(stand):
        deaths = failing.deaths
        failing.end(how, calls)
        while failing.deaths == deaths:
            await asyncio.sleep(0.01)
        return time.time()


def p99_ms_after(stand: Stand, moments: Sequence[float]) -> float:
    """Of the answers to calls that were under way at one of the moments, or sent that soon after it."""
    calls = [call for call in stand.portals.calls if call.status]
    felt = (one.took_s for one in calls if any(one.at - _FELT_S < at <= one.at + one.took_s for at in moments))
    return percentiles_ms(list(felt))["p99"]


@asynccontextmanager
async def replaced(stand: Stand) -> AsyncIterator[None]:
    """In the block a worker dies; it ends when another one takes calls."""
    begun = stand.servings()
    yield
    await asyncio.to_thread(stand.site.wait, "a new worker", lambda: stand.servings() > begun)


@SIZES
async def test_workers_that_die_in_a_group_commit_lose_nothing_that_was_acknowledged(
    clusters: Callable[..., Cluster], stands: Callable[..., Stand], failing: Failing, size: Size
) -> None:
    cluster, rng = clusters(), Random(SEED)
    stand = stands(cluster.url, size)
    stand.site.variables = failing.environ
    await stand.start()

    async with stand.loaded(), stand.fault():
        await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
        await stand.portals.answered(100)
        died = []
        for number in range(size.deaths):
            # Whoever is back sooner does not die sooner.
            events = stand.portals.answered(size.meanwhile // size.deaths)
            death = die(stand, failing, list(End)[number % len(End)], rng.randint(1, _CALLS))
            died.append((await asyncio.gather(death, events))[0])
        cluster.nodes[0].start()

    # Each death breaks the calls that it had under way; what the broker had of them when it died may come again.
    row = await stand.judged(
        f"ingest: kill -9 in a group commit, {size.deaths} times, and no broker",
        bound=size.connections,
        note="by turns half a page written, before the fsync and after it, the next "
        f"{size.meanwhile // size.deaths} events later; p99 of the calls within {_FELT_S * 1000:.0f} ms of a death "
        f"{p99_ms_after(stand, died):.0f} ms; what may stand twice was under way to the broker when that was killed",
    )
    assert failing.deaths == size.deaths
    assert row.refused == 0


@pytest.mark.faults
async def test_workers_that_are_killed_while_they_drain_double_what_was_under_way_alone(
    clusters: Callable[..., Cluster], stands: Callable[..., Stand]
) -> None:
    cluster, deaths = clusters(), 20
    stand = stands(cluster.url, LONG)
    await stand.start()

    async with stand.loaded(), stand.fault():
        await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
        await stand.meanwhile()
        cluster.nodes[0].start()
        await asyncio.to_thread(cluster.wait_ready)
        for _ in range(deaths):
            async with replaced(stand):
                os.kill(drainer(stand.site), signal.SIGKILL)

    await stand.judged(
        f"ingest: kill -9 of the process that drains, {deaths} times, broker back",
        bound=deaths * (UNDECIDED + LONG.connections),
        note=f"for each death at most the {UNDECIDED:,} records that a drain has sent and not deleted, and the "
        f"{LONG.connections} calls under way",
    )
