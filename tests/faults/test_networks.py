"""The network between the ingest and its broker: cut, or slow."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kafka.cluster import Cluster, Node

from .networks import Proxy, namespace
from .reporting import Report
from .stand import LONG, SHORT, Size, Stand

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SIZES = pytest.mark.parametrize("size", [SHORT, pytest.param(LONG, marks=pytest.mark.faults)], ids=["short", "long"])

#: Each way, and so twice that for an answer: more than the time that an event may wait for the queue.
_SLOW_S = 0.4
#: Less than that.
_SLOWER_S = 0.1


@SIZES
async def test_bytes_that_are_held_up_on_the_way_to_the_broker_cost_no_event_and_no_order(
    clusters: Callable[..., Cluster], stands: Callable[..., Stand], size: Size, tmp_path: Path
) -> None:
    node = Node(1, tmp_path / "node")
    with Proxy(node.port) as proxy:
        node.advertised_port = proxy.port
        stand = stands(clusters([node]).url, size)
        await stand.start()

        async with stand.loaded(), stand.fault():
            proxy.cut()
            await stand.meanwhile()
            proxy.join()

        row = await stand.judged("network: bytes to and from the broker are held up, by a proxy")
    assert (row.refused, row.unanswered) == (0, 0)


@pytest.mark.faults
async def test_a_wire_that_is_cut_costs_no_event_and_no_order(
    clusters: Callable[..., Cluster], stands: Callable[..., Stand], report: Report, tmp_path: Path
) -> None:
    fault = "network: the broker's wire is cut for 30 s, packets get lost (network namespace)"
    node = Node(1, tmp_path / "node")
    with namespace(report, fault) as wire:
        node.host, node.within = wire.address, wire.within
        stand = stands(clusters([node]).url, replace(LONG, meanwhile=round(30 * LONG.rate)))
        await stand.start()

        async with stand.loaded(), stand.fault():
            wire.cut()
            await stand.meanwhile()
            wire.join()

        row = await stand.judged(fault)
    assert (row.refused, row.unanswered) == (0, 0)


@pytest.mark.faults
@pytest.mark.parametrize(("latency_s", "what"), [(_SLOWER_S, "100 ms"), (_SLOW_S, "400 ms")])
async def test_a_slow_network_costs_no_event_and_no_order(
    clusters: Callable[..., Cluster], stands: Callable[..., Stand], tmp_path: Path, latency_s: float, what: str
) -> None:
    node = Node(1, tmp_path / "node")
    with Proxy(node.port) as proxy:
        node.advertised_port = proxy.port
        stand = stands(clusters([node]).url, LONG)
        await stand.start()

        async with stand.loaded(), stand.fault():
            proxy.latency_s, before = latency_s, stand.openings()
            await stand.meanwhile()
            openings = stand.openings() - before
            proxy.latency_s = 0.0

        row = await stand.judged(
            f"network: {what} each way to the broker",
            note="every answer of the broker takes at least twice as long",
        )
    assert (row.refused, row.unanswered) == (0, 0)
    # No calls wait again and again to find out that the queue is still too slow.
    assert openings <= 2 * stand.processes
