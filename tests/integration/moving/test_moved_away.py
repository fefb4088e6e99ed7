"""A queue of each kind from which everything was moved: whoever goes on with it is told."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from forebay.console.checks.needs import Side
from forebay.console.checks.queue import queue_findings
from forebay.console.settings import Settings
from forebay.queues.findings import Finding
from forebay.queues.moves.watch import MoveWatch
from tests.waiting import until

from .test_moves import A, carried, move_between, site_on

SYSTEMS = [
    "sqlite",
    "postgresql",
    "mariadb",
    "redis",
    "rabbitmq",
    pytest.param("kafka", marks=pytest.mark.kafka),
]
SIDES: tuple[Side, ...] = ("all", "ingest", "process", "canary")


async def found(settings: Settings, side: Side) -> list[Finding]:
    return [finding async for finding in queue_findings(settings, side) if finding.check == "queue moved"]


@pytest.mark.parametrize("system", SYSTEMS)
async def test_doctor_the_canary_and_who_starts_tell_of_a_queue_that_was_moved(
    system: str, url_of: Callable[[str], str], tmp_path: Path
) -> None:
    topic, moved_to = f"events-{uuid4().hex[:12]}", f"sqlite:///{tmp_path}/new.db"
    async with site_on(url_of(system), topic, 4, tmp_path) as old, site_on(moved_to, topic, 4, tmp_path) as new:
        await old.send(A, 1)
        before = [await found(old.settings, side) for side in SIDES]
        async with move_between(old, new) as move:
            await carried(move)
        await old.send(A, 2)
        told = [await found(old.settings, side) for side in SIDES]
        watch = MoveWatch(old.queue, topic)
        with capture_logs() as lines:
            watching = asyncio.create_task(watch.run())
            await until(lambda: watch.state)
            watching.cancel()
            await asyncio.wait([watching])

        assert before == [[]] * 4
        assert [[finding.state for finding in one] for one in told] == [["fail"]] * 4
        assert f"moved to {moved_to} (by " in told[0][0].detail
        assert "1 events have come since, which nobody handles" in told[0][0].detail
        assert [(line["log_level"], moved_to in line["why"]) for line in lines] == [("error", True)]
        assert await found(new.settings, "all") == []
