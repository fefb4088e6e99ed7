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

#: The threads of Kafka's client wait by the wall clock: while the broker is gone they would come back so much later.
_BACK_S = 2 * _HOUR_S


@pytest.mark.parametrize(("shift_s", "what"), [(_HOUR_S, "an hour forwards"), (-_BACK_S, "two hours back")])
async def test_a_clock_that_jumps_costs_no_event_and_no_order(
    clusters: Callable[..., Cluster],
    stands: Callable[..., Stand],
    failing: Failing,
    shift_s: int,
    what: str,
) -> None:
    cluster = clusters()
    stand = stands(cluster.url, LONG)
    stand.site.variables = failing.environ
    await stand.start()

    async with stand.loaded(), stand.fault():
        half = stand.size.meanwhile // 2
        await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
        await stand.portals.answered(half)
        failing.shift_clock(shift_s)
        await stand.portals.answered(half)
        cluster.nodes[0].start()

    row = await stand.judged(f"clock of the ingest: {what}, while the broker is gone")
    jumps = {round((received - sent) / shift_s) for received, sent in stand.received()}
    assert jumps == {0, 1}
    assert (row.refused, row.unanswered) == (0, 0)
