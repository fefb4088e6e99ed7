"""The broker's own disk is full: it ends, and comes back when somebody has made space."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kafka.cluster import Cluster, Node

from .reporting import Report
from .small_disks import small_disk
from .stand import LONG, Stand

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.timeout(600)]

#: Far more than an empty broker needs.
_MEGABYTES = 64


def fill(disk: Path) -> Path:
    """Write a file until nothing more fits."""
    ballast = disk / "ballast"
    file = os.open(ballast, os.O_CREAT | os.O_WRONLY)
    try:
        for piece in (1 << 20, 1 << 12):
            try:
                while True:
                    os.write(file, bytes(piece))
            except OSError:
                continue
    finally:
        os.close(file)
    return ballast


async def test_a_broker_whose_disk_is_full_costs_no_event_and_no_order(
    clusters: Callable[..., Cluster], stands: Callable[..., Stand], report: Report, tmp_path: Path
) -> None:
    fault = "broker, the only one: its disk is full, it ends, and is started again"
    with small_disk(tmp_path / "disk", _MEGABYTES, report, fault) as disk:
        node = Node(1, disk / "node")
        stand = stands(clusters([node]).url, LONG)
        await stand.start()

        async with stand.loaded(), stand.fault():
            ballast = fill(disk)
            await asyncio.to_thread(stand.site.wait, "the broker's end", node.has_ended)
            await stand.meanwhile()
            ballast.unlink()
            node.stop()
            node.start()

        row = await stand.judged(fault)
        node.stop()
    assert (row.refused, row.unanswered) == (0, 0)
