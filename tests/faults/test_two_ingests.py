"""Two ingests on one host, each with a port of its own, share one spool."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from tests.kafka.cluster import Cluster

from .hosts import drainer
from .stand import LONG, SHORT, Size, Stand

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SIZES = pytest.mark.parametrize("size", [SHORT, pytest.param(LONG, marks=pytest.mark.faults)], ids=["short", "long"])


@SIZES
async def test_two_ingests_with_one_spool_keep_the_order_of_portals_that_call_both(
    clusters: Callable[..., Cluster], stands: Callable[..., Stand], size: Size
) -> None:
    cluster = clusters()
    stand = stands(cluster.url, size, hosts=2, in_turn=True, processes=1)
    first, second = stand.sites
    second.settings["data_dir"] = first.settings["data_dir"]
    await stand.start()

    async with stand.loaded(), stand.fault():
        await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
        await stand.portals.answered(size.meanwhile // 2)
        os.kill(drainer(first), signal.SIGKILL)
        await asyncio.to_thread(first.wait, "a new worker", lambda: all(site.workers() for site in stand.sites))
        await stand.portals.answered(size.meanwhile // 2)
        cluster.nodes[0].start()

    row = await stand.judged(
        "ingest: two of them on one spool, events in turn, no broker, kill -9 of the one that drains",
        bound=size.connections,
        note="what may stand twice was under way to the broker when that was killed",
    )
    assert row.refused == 0
