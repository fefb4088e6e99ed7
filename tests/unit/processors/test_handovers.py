"""What an operator reads in the log about partitions that come and go."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from forebay.processors.handovers import Handovers
from forebay.processors.metrics import build_metrics


@pytest.fixture
def handovers() -> Handovers:
    return Handovers(build_metrics(CollectorRegistry()))


async def test_partitions_that_come_together_are_one_line_and_lost_ones_a_warning(handovers: Handovers) -> None:
    with capture_logs() as logs:
        handovers.note("assigned", 3, 40)
        handovers.note("assigned", 1, 7)
        handovers.note("lost", 2, 9)
        await asyncio.sleep(0)

    assert logs == [
        {"event": "partitions assigned", "log_level": "info", "positions": {1: 7, 3: 40}},
        {"event": "partitions lost", "log_level": "warning", "positions": {2: 9}},
    ]


async def test_what_happens_to_one_partition_is_told_in_its_order(handovers: Handovers) -> None:
    with capture_logs() as logs:
        handovers.note("assigned", 1, 7)
        handovers.note("lost", 1, 8)
        handovers.note("assigned", 1, 7)
        await asyncio.sleep(0)

    assert [line["event"] for line in logs] == ["partitions assigned", "partitions lost", "partitions assigned"]


async def test_those_that_a_worker_gives_back_as_it_leaves_are_one_line(handovers: Handovers) -> None:
    handovers.leave()

    with capture_logs() as logs:
        handovers.note("revoked", 1, 7)
        await asyncio.sleep(0)
        handovers.note("revoked", 2, 9)
        handovers.tell()

    assert [line["positions"] for line in logs] == [{1: 7, 2: 9}]
