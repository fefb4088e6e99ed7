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

#: librdkafka's threads wait by the wall clock: when that is set back, they wait so much longer, unless they are woken.
_BACK_S = 20


@pytest.mark.parametrize(
    ("shift_s", "what", "note"),
    [
        (_HOUR_S, "an hour forwards", ""),
        (
            -_BACK_S,
            f"{_BACK_S} s back",
            "the threads of librdkafka wait by the wall clock: set back while the broker is gone, they may come back "
            "so much later; until then the spool takes the events",
        ),
    ],
)
async def test_a_clock_that_jumps_costs_no_event_and_no_order(
    clusters: Callable[..., Cluster],
    stands: Callable[..., Stand],
    failing: Failing,
    shift_s: int,
    what: str,
    note: str,
) -> None:
    cluster = clusters()
    stand = stands(cluster, LONG)
    stand.site.variables = failing.environ
    await stand.start()

    async with stand.loaded(), stand.fault():
        half = stand.size.meanwhile // 2
        await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
        await stand.portals.answered(half)
        failing.shift_clock(shift_s)
        await stand.portals.answered(half)
        cluster.nodes[0].start()

    row = await stand.judged(
        f"clock of the ingest: {what}, while the broker is gone",
        note=note,
    )
    jumps = {round((received - sent) / shift_s) for received, sent in stand.received()}
    assert jumps == {0, 1}
    assert (row.refused, row.unanswered) == (0, 0)
