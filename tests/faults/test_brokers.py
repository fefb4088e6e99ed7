"""Brokers that die or hang under load."""

import asyncio
import signal
from collections.abc import Callable

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
    stand = stands(cluster, size)
    await stand.start()

    async with stand.loaded(), stand.fault():
        await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
        await stand.meanwhile()
        cluster.nodes[0].start()

    row = await stand.judged("broker, the only one: kill -9, then started again")
    assert not row.refused
    assert not row.unanswered
