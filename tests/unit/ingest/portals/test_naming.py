"""A portal that is renamed keeps its key, and its handlers learn of the new domain."""

import asyncio
from collections.abc import Sequence

import pytest

from forebay.queues.memory import MemoryQueue
from forebay.queues.portals.contract import Fact
from forebay.schemas.event import PortalEvent
from tests.bitrix24.oauth import FakeOAuth
from tests.unit.ingest.portals.conftest import DOMAIN, MEMBER, Learning, body, install, learning

NEW = "second.bitrix24.com"

#: Far more than any of these needs.
PATIENCE_S = 20.0


def renames(ingest: Learning) -> list[PortalEvent]:
    return [event for event in ingest.events() if event.name == "ONPORTALRENAMED"]


async def test_the_key_stays_and_the_handlers_are_told_before_the_first_event(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        await ingest.proved()

        await ingest.post(body(domain=NEW))

        told, event = ingest.events()[1:]
        assert [record.key for record in ingest.records()] == [DOMAIN] * 3
        assert (told.name, told.source, told.portal, told.member_id) == ("ONPORTALRENAMED", "forebay", DOMAIN, MEMBER)
        assert told.data == {"FROM": DOMAIN, "TO": NEW}
        assert told.auth["domain"] == event.auth["domain"] == NEW
        assert told.subscription.verified


async def test_a_rename_is_told_once_also_after_a_restart(oauth: FakeOAuth) -> None:
    queue = MemoryQueue()
    async with learning(oauth, queue) as ingest:
        await ingest.post(install())
        await ingest.proved()
        await asyncio.gather(*(ingest.post(body(domain=NEW, number=number)) for number in range(20)))
    async with learning(oauth, queue) as ingest:
        await ingest.post(body(domain=NEW))
        await ingest.post(body(domain=DOMAIN))

        assert len(renames(ingest)) == 1
        assert {record.key for record in ingest.records()} == {DOMAIN}


async def test_both_domains_are_known_of_the_portal(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        pin = await ingest.proved()

        await ingest.post(body(domain=NEW))

        while not pin.member.domains:
            await asyncio.sleep(0.001)
        assert (pin.member.portal, pin.member.domains) == (DOMAIN, (NEW,))


async def test_a_rename_that_can_not_be_noted_is_not_told_with_every_call(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        pin = await ingest.proved()
        ingest.facts.down = True

        for number in range(3):
            assert (await ingest.post(body(domain=NEW, number=number))).status_code == 200
        ingest.facts.down = False
        while not ingest.desk.registry.is_current:
            await asyncio.sleep(0.001)
        await ingest.post(body(domain=NEW))

        while not (await ingest.proved()).member.domains:
            await asyncio.sleep(0.001)
        assert len(renames(ingest)) == 1
        assert (await ingest.proved()).member.domains == (NEW,)
        assert pin.member.id == MEMBER


async def test_no_call_waits_until_a_rename_is_noted_and_a_stop_does_for_a_moment(
    oauth: FakeOAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.queues.portals.registry._PATIENCE_S", 3600.0)
    stops = asyncio.Event()
    async with learning(oauth) as ingest:
        await ingest.post(install())
        pin = await ingest.proved()
        store = ingest.desk.registry._store
        put = store.put

        async def hang(facts: Sequence[Fact]) -> int:
            await stops.wait()
            for _ in range(100):
                await asyncio.sleep(0)
            return await put(facts)

        monkeypatch.setattr(store, "put", hang)

        async with asyncio.timeout(PATIENCE_S):
            for number in range(3):
                assert (await ingest.post(body(domain=NEW, number=number))).status_code == 200

        assert [event.name for event in ingest.events()[1:]] == ["ONPORTALRENAMED", *["ONCRMDEALADD"] * 3]
        assert not pin.member.domains
        flush = ingest.health._outlet.close

        async def stop() -> None:
            await flush()
            stops.set()

        monkeypatch.setattr(ingest.health._outlet, "close", stop)

    assert pin.member.domains == (NEW,)


async def test_a_caller_that_can_prove_nothing_renames_nobody(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        pin = await ingest.proved()

        await ingest.post(install(token="f" * 32, domain=NEW, access="made-up"))

        assert renames(ingest) == []
        assert pin.member.domains == ()


async def test_a_portal_with_ever_new_domains_is_told_of_some(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        await ingest.proved()

        for number in range(20):
            await ingest.post(body(domain=f"{number}.example.com"))

        assert len(renames(ingest)) == 16


async def test_with_member_ids_as_keys_the_handlers_are_told_too(oauth: FakeOAuth) -> None:
    async with learning(oauth, key="member_id") as ingest:
        await ingest.post(install())
        await ingest.proved()

        await ingest.post(body(domain=NEW))

        assert [record.key for record in ingest.records()] == [MEMBER] * 3
        assert renames(ingest)[0].data == {"FROM": DOMAIN, "TO": NEW}
