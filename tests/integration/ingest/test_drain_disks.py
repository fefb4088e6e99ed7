"""Whether the disk of the spool takes anything is known while the queue takes everything."""

import sqlite3

import pytest
from structlog.testing import capture_logs

from tests.spool.stores import FailingFile
from tests.spool.world import World


async def test_a_disk_that_fails_while_nothing_needs_it_is_told_once_and_its_recovery_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.ingest.spool.files.SpoolFile", FailingFile)
    monkeypatch.setattr("forebay.ingest.spool.drain._LOOK_AT_DISK_S", 0.0)
    monkeypatch.setattr("forebay.ingest.spool.drain._TRY_S", 0.0)
    worker, other = await world.start(), await world.start()
    await worker.step()
    well = other.spool.why_not

    monkeypatch.setattr(FailingFile, "fails", ("insert", sqlite3.SQLITE_READONLY))
    with capture_logs() as logs:
        await worker.step()
        await worker.step()
    call = await world.send("a.ru", worker)
    broken = other.spool.why_not
    monkeypatch.setattr(FailingFile, "fails", None)
    await worker.step()

    assert (well, other.spool.why_not) == ("", "")
    assert "broken" in broken
    # By the queue, past the spool.
    assert call.kept.result() is False
    [told] = [log for log in logs if log["log_level"] == "error"]
    assert "the spool takes nothing" in told["event"] and str(world.folder) in told["error"]
