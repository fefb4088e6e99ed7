"""What /ready says about queue and spool: calls may come as long as one of them would keep an event."""

import asyncio
from pathlib import Path
from typing import Any

from forebay.ingest.spool.spool import Spool

from .conftest import EVENT, Running, running

LARGE = 1 << 30

#: Less than one event needs.
NOTHING_FITS = 10


async def ready(ingest: Running) -> tuple[int, str, dict[str, str]]:
    """Status, word and parts of the answer."""
    answer = await ingest.conductor.simulate_get("/ready")
    said: Any = answer.json
    return answer.status_code, said["status"], said["parts"]


async def ready_when_settled(ingest: Running, spool_state: str) -> tuple[int, str, dict[str, str]]:
    """The same, once the spool says that."""
    while (said := await ready(ingest))[2]["spool"] != spool_state:
        await asyncio.sleep(0.001)
    return said


async def test_with_queue_and_spool_there_all_is_well(spool: Spool) -> None:
    async with running(spool=spool) as ingest:
        assert await ready(ingest) == (200, "ok", {"process": "ok", "queue": "ok", "spool": "ok"})


async def test_without_a_queue_the_spool_takes_calls_and_says_how_much_it_holds(spool: Spool) -> None:
    async with running(spool=spool) as ingest:
        ingest.queue.down = True
        empty = await ready(ingest)
        answer = await ingest.post(EVENT)
        holds = await ready(ingest)
        ingest.queue.down = False
        # Its drain pauses after a failure.
        again = await ready_when_settled(ingest, "ok")

    assert answer.status_code == 200
    assert empty == (200, "degraded", {"process": "ok", "queue": "the memory queue was put down", "spool": "ok"})
    assert holds[:2] == (200, "degraded")
    assert holds[2]["spool"] == "holds 1 events for the queue"
    assert again == (200, "ok", {"process": "ok", "queue": "ok", "spool": "ok"})


async def test_a_full_spool_is_a_warning_while_the_queue_is_there_and_the_end_without_it(tmp_path: Path) -> None:
    async with running(spool=Spool(tmp_path, NOTHING_FITS)) as ingest:
        ingest.queue.down = True
        refused = await ingest.post(EVENT)
        without = await ready(ingest)
        ingest.queue.down = False
        while (await ready(ingest))[2]["queue"] != "ok":
            await asyncio.sleep(0.001)
        beside = await ready(ingest)

    assert refused.status_code == 503
    assert without[:2] == (503, "failing")
    assert without[2]["spool"] == f"full: {NOTHING_FITS} bytes, or the disk"
    assert beside[:2] == (200, "degraded")


async def test_a_spool_that_can_not_be_opened_is_a_warning_while_the_queue_is_there(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    async with running(spool=Spool(tmp_path, LARGE)) as ingest:
        beside = await ready(ingest)
        ingest.queue.down = True
        without = await ready(ingest)

    assert beside[:2] == (200, "degraded")
    assert "can't be written to" in beside[2]["spool"]
    assert without[:2] == (503, "failing")


async def test_a_spool_that_can_be_opened_later_is_opened_then(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    async with running(spool=Spool(tmp_path, LARGE)) as ingest:
        (tmp_path / "spool").unlink()

        assert (await ready_when_settled(ingest, "ok"))[:2] == (200, "ok")


async def test_a_process_that_stops_is_not_ready_whatever_queue_and_spool_say(spool: Spool) -> None:
    async with running(spool=spool) as ingest:
        ingest.health.stop()

        assert await ready(ingest) == (503, "failing", {"process": "stopping", "queue": "ok", "spool": "ok"})


async def test_without_a_spool_the_queue_alone_decides() -> None:
    async with running() as ingest:
        there = await ready(ingest)
        ingest.queue.down = True
        gone = await ready(ingest)

    assert there == (200, "ok", {"process": "ok", "queue": "ok"})
    assert gone == (503, "failing", {"process": "ok", "queue": "the memory queue was put down"})
