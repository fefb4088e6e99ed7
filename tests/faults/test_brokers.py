"""Brokers that die or hang under load."""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.kafka.cluster import Cluster

from .stand import LONG, SHORT, Size, Stand

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SIZES = pytest.mark.parametrize("size", [SHORT, pytest.param(LONG, marks=pytest.mark.faults)], ids=["short", "long"])


@SIZES
async def test_the_only_broker_is_killed_and_comes_back(
    clusters: Callable[..., Cluster], stands: Callable[..., Stand], size: Size
) -> None:
    cluster = clusters()
    stand = stands(cluster.url, size)
    await stand.start()

    async with stand.loaded(), stand.fault():
        await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
        await stand.meanwhile()
        cluster.nodes[0].start()

    row = await stand.judged("broker, the only one: kill -9, then started again")
    assert (row.refused, row.unanswered) == (0, 0)


@pytest.mark.faults
async def test_one_broker_of_three_is_killed_and_comes_back(
    clusters: Callable[..., Cluster], stands: Callable[..., Stand]
) -> None:
    cluster = clusters(3)
    stand = stands(cluster.url, LONG)
    await stand.start()

    async with stand.loaded(), stand.fault():
        await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
        await stand.meanwhile()
        cluster.nodes[0].start()
        await asyncio.to_thread(cluster.wait_in_sync)

    row = await stand.judged(
        "broker, one of three: kill -9, then started again",
        bound=stand.under_way(2),
        note="what may stand twice was on its way when leaders changed: as the broker went, and as it came back",
    )
    assert (row.refused, row.unanswered) == (0, 0)


@pytest.mark.faults
async def test_the_only_broker_hangs_and_goes_on(
    clusters: Callable[..., Cluster], stands: Callable[..., Stand]
) -> None:
    cluster = clusters()
    stand = stands(cluster.url, replace(LONG, meanwhile=round(30 * LONG.rate)))
    await stand.start()

    async with stand.loaded(), stand.fault():
        cluster.nodes[0].signal(signal.SIGSTOP)
        await stand.meanwhile()
        cluster.nodes[0].signal(signal.SIGCONT)

    row = await stand.judged("broker, the only one: SIGSTOP for 30 s")
    assert (row.refused, row.unanswered) == (0, 0)
