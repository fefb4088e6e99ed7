"""What the endpoints share that know portals, when the worker stops."""

import asyncio

import pytest

from tests.bitrix24.oauth import FakeOAuth
from tests.unit.ingest.portals.conftest import install, learning


async def test_events_on_their_way_do_not_wait_for_a_store_of_portals_that_hangs(
    oauth: FakeOAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.queues.portals.registry._CLOSE_S", 0.01)
    closed: list[str] = []
    async with learning(oauth) as ingest:
        await ingest.post(install())
        outlet, store = ingest.health._outlet, ingest.desk.registry._store
        flush = outlet.close

        async def note() -> None:
            await flush()
            closed.append("events")

        async def hang() -> None:
            closed.append("portals")
            await asyncio.Event().wait()

        monkeypatch.setattr(outlet, "close", note)
        monkeypatch.setattr(store, "close", hang)

    assert closed == ["events", "portals"]
