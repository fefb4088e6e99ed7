"""The wall clock of the ingest's host jumps, forwards and back."""

import asyncio
import signal
from collections.abc import Callable

import pytest

from tests.kafka.cluster import Cluster

from .failing import Failing
from .stand import LONG, Stand

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.timeout(600)]

_HOUR_S = 3600


async def test_a_clock_that_jumps_costs_no_event_and_no_order(
    clusters: Callable[..., Cluster], stands: Callable[..., Stand], failing: Failing
) -> None:
    cluster = clusters()
    stand = stands(cluster, LONG)
    stand.site.variables = failing.environ
    await stand.start()

    async with stand.loaded(), stand.fault():
        third = stand.size.meanwhile // 3
        failing.shift_clock(_HOUR_S)
        await stand.portals.answered(third)
        await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
        failing.shift_clock(-_HOUR_S)
        await stand.portals.answered(third)
        failing.shift_clock(0)
        await stand.portals.answered(third)
        cluster.nodes[0].start()

    row = await stand.judged(
        "clock: an hour forwards, two back and one forwards, and the broker killed between them",
        note="the clock of the ingest's processes alone; the load's is right",
    )
    shifts = {round((line - call) / _HOUR_S) for line, call in stand.received()}
    assert shifts == {-1, 0, 1}
    assert (row.refused, row.unanswered) == (0, 0)
