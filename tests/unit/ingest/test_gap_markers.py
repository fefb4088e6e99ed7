"""What a portal is told when calls of it were kept nowhere, from the call to the handler."""

from typing import Any

import pytest

from forebay import Handlers, PortalEvent
from forebay.processors.outcome import Done
from forebay.processors.testing import run
from forebay.schemas.codec import codec
from forebay.schemas.names import GAP

from .conftest import EVENT, Running, running


def event_of(portal: str, number: int = 1) -> str:
    return EVENT.replace("A.Bitrix24.ru", portal).replace("[ID]=9", f"[ID]={number}")


def told(ingest: Running) -> list[tuple[str, str, Any]]:
    """Portal, name, and of a marker how many calls it tells of, of other events the id; in the queue's order."""
    events = [codec().decode(record.value) for record in ingest.records()]
    return [(one.portal, one.name, one.fields.get("data[COUNT]", one.fields.get("data[FIELDS][ID]"))) for one in events]


async def test_a_portal_is_told_of_its_gap_before_its_next_event() -> None:
    async with running() as ingest:
        await ingest.post(event_of("a.ru", 1))
        ingest.queue.down = True
        refused = [(await ingest.post(event_of("a.ru", number))).status_code for number in (2, 3)]
        ingest.queue.down = False

        kept = await ingest.post(event_of("a.ru", 4))
        await ingest.post(event_of("a.ru", 5))

        assert (refused, kept.status_code) == ([503, 503], 200)
        assert told(ingest) == [
            ("a.ru", "ONCRMDEALADD", "1"),
            ("a.ru", GAP, "2"),
            ("a.ru", "ONCRMDEALADD", "4"),
            ("a.ru", "ONCRMDEALADD", "5"),
        ]


async def test_a_marker_is_an_event_that_says_from_when_to_when_and_why() -> None:
    async with running(auth="none", tokens={}) as ingest:
        ingest.queue.down = True
        await ingest.post()
        await ingest.post()
        ingest.queue.down = False
        await ingest.post()

        marker = codec().decode(ingest.records()[0].value)
        assert isinstance(marker.data, dict)
        since, until = marker.data["FROM"], marker.data["TO"]
        assert isinstance(since, str) and isinstance(until, str) and since <= until
        assert (marker.data["REASON"], marker.data["COUNT"]) == ("not_kept", "2")
        assert (marker.kind, marker.name, marker.source) == ("event", GAP, "forebay")
        assert (marker.portal, marker.member_id) == ("a.bitrix24.ru", "m1")
        assert marker.auth == {"domain": "a.bitrix24.ru", "member_id": "m1"}
        assert (marker.subscription.endpoint, marker.subscription.verified) == ("/bitrix24", False)
        assert dict(ingest.records()[0].headers)["ce_type"] == b"com.bitrix24.event.ONFOREBAYGAP"


async def test_a_handler_takes_markers_by_their_name() -> None:
    handlers, seen = Handlers(), []

    @handlers.on("ONFOREBAYGAP")
    async def reconcile(event: PortalEvent) -> None:
        seen.append(event.data)

    async with running() as ingest:
        ingest.queue.down = True
        await ingest.post()
        ingest.queue.down = False
        await ingest.post()
        outcome = await run(handlers, codec().decode(ingest.records()[0].value))

    assert isinstance(outcome, Done)
    assert len(seen) == 1


async def test_each_portal_has_a_marker_of_its_own_and_others_have_none() -> None:
    async with running() as ingest:
        ingest.queue.down = True
        for portal in ("a.ru", "b.ru", "a.ru"):
            await ingest.post(event_of(portal))
        ingest.queue.down = False

        for portal in ("a.ru", "b.ru", "c.ru"):
            await ingest.post(event_of(portal))

        markers = sorted((portal, count) for portal, name, count in told(ingest) if name == GAP)
        assert markers == [("a.ru", "2"), ("b.ru", "1")]


async def test_what_is_refused_after_a_marker_is_a_gap_of_its_own() -> None:
    async with running() as ingest:
        for number in (1, 2):
            ingest.queue.down = True
            await ingest.post(event_of("a.ru", number))
            ingest.queue.down = False
            await ingest.post(event_of("a.ru", number))

        assert [(name, count) for _, name, count in told(ingest)] == [
            (GAP, "1"),
            ("ONCRMDEALADD", "1"),
            (GAP, "1"),
            ("ONCRMDEALADD", "2"),
        ]


async def test_a_call_that_meets_a_fault_of_our_own_is_a_gap_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as ingest:
        with monkeypatch.context() as broken:
            broken.setattr("forebay.ingest.reader.recognise", lambda fields: 1 / 0)
            failed = await ingest.post(event_of("a.ru", 1))

        await ingest.post(event_of("a.ru", 2))

        assert failed.status_code == 500
        assert told(ingest) == [("a.ru", GAP, "1"), ("a.ru", "ONCRMDEALADD", "2")]


async def test_what_is_no_portals_call_leaves_no_gap() -> None:
    async with running() as ingest:
        ingest.queue.down = True
        stranger = await ingest.post(EVENT.replace("auth[application_token]=", "auth[application_token]=x"))
        nameless = await ingest.post(EVENT.replace("A.Bitrix24.ru", "-").replace("=m1", "=%20"))
        ingest.queue.down = False
        await ingest.post()

        assert (stranger.status_code, nameless.status_code) == (403, 503)
        assert [name for _, name, _ in told(ingest)] == ["ONCRMDEALADD"]


async def test_a_call_that_went_to_quarantine_leaves_no_gap() -> None:
    async with running(max_depth=4) as ingest:
        await ingest.post(EVENT + "&data[a][b][c][d][e][f]=1")
        await ingest.post()

        assert len(ingest.records(".quarantine")) == 1
        assert [name for _, name, _ in told(ingest)] == ["ONCRMDEALADD"]
