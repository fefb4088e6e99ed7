"""A key for each portal's secrets, through the whole application and with the store in memory."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from forebay.console.letters.unsealing import CannotOpen, opened_body
from forebay.console.portal_keys import keyring
from forebay.ingest.address import Address
from forebay.ingest.authenticate import Sender
from forebay.ingest.portals.keys import PortalKeys
from forebay.ingest.portals.waits import Waits
from forebay.ingest.settings import IngestSettings
from forebay.queues.memory import MemoryQueue
from forebay.queues.portals.members import DataKey
from forebay.queues.portals.registry import PortalRegistry
from forebay.queues.portals.stored_keys import StoredKeys
from forebay.schemas.data_keys import Named, named, unwrap, wrap
from forebay.schemas.event import PortalEvent, SecretsShredded
from tests.unit.ingest.conftest import EVENT, TOKEN, facts_of

from .sealing import KEY, LATER_S, OLD, SEAL_KEYS, TOKENS, call, events, key_ids, reader, sealing


async def test_a_portals_secrets_are_sealed_by_a_key_of_its_own_from_the_first_on() -> None:
    async with sealing() as ingest:
        for member in ("m1", "m2", "m1"):
            await ingest.post(call(member))
        async with reader(ingest.queue) as registry:
            await registry.following.refresh(10)
            stored = StoredKeys(registry)
            opened = [event.with_keys_of(stored).secrets({"k1": KEY}) for event in events(ingest)]

    members = [whose.member_id for whose in map(named, sorted(key_ids(ingest))) if whose]
    assert members == ["m1", "m1", "m2"] and len(set(key_ids(ingest))) == 2
    assert opened == [TOKENS] * 3


async def test_calls_at_once_of_a_new_portal_share_its_one_key() -> None:
    async with sealing() as ingest:
        await asyncio.gather(*(ingest.post(call()) for _ in range(20)))

        assert len(set(key_ids(ingest))) == 1 and key_ids(ingest)[0].startswith("portal/m1/")


@pytest.mark.parametrize(
    "body", ["event=A&auth[member_id]=m1&auth[domain]=a.ru&auth[application_token]=" + TOKEN, "x=1"], ids=["", "bad"]
)
async def test_a_portal_without_a_secret_to_seal_gets_no_key(body: str) -> None:
    async with sealing() as ingest:
        await ingest.post(body)

        assert facts_of(ingest.queue).facts == []


@pytest.mark.parametrize(
    "policy", [{"auth": "none", "tokens": {}}, {"tokens": {"a.bitrix24.ru": TOKEN}}], ids=["none", "by domain"]
)
async def test_whose_member_id_is_only_his_word_gets_no_key(policy: dict[str, Any]) -> None:
    async with sealing(**policy) as ingest:
        await ingest.post(call())

        assert key_ids(ingest) == ["k1"]
        assert events(ingest)[0].secrets({"k1": KEY}) == TOKENS


@pytest.mark.parametrize(("leaves", "gone"), [("one", False), ("other", False), ("last", True)])
async def test_while_another_application_is_installed_there_nothing_is_shredded(leaves: str, gone: bool) -> None:
    async with registry_with(m1=OLD) as registry:
        await registry.add("one", "m1", "token", "a.ru")
        await registry.add("other", "m1", "another", "a.ru")
        if leaves == "last":
            member = registry.member("m1")
            assert member
            await registry.leave(member, "other")
        keys = PortalKeys(registry, {"0": OLD}, Waits(0.01))
        address = Address(path="", query="")
        sender = Sender(portal="a.ru", member_id="m1", verified=True, address=address, member_is_proved=True)

        await keys.shred(sender, "one" if leaves == "last" else leaves)
        await keys.close()

        assert (registry.data_keys.current("m1") is None) == gone


@pytest.mark.parametrize(("more", "gone"), [("&data[CLEAN]=1", True), ("&data[CLEAN]=0", False), ("", False)])
async def test_an_uninstall_with_its_data_shreds_what_the_portal_had_sealed(more: str, gone: bool) -> None:
    async with sealing() as ingest:
        await ingest.post(call("m1"))
        await ingest.post(call("m2"))
        await ingest.post(call("m1", "ONAPPUNINSTALL", more))
        async with reader(ingest.queue) as registry:
            await registry.following.refresh(10)
            while gone and registry.data_keys.current("m1"):
                await registry.following.refresh(10)
            stored = StoredKeys(registry, now=lambda: time.time() + LATER_S)
            first, other, *_ = (event.with_keys_of(stored) for event in ordered(events(ingest)))

            assert other.secrets({"k1": KEY}) == TOKENS
            if gone:
                with pytest.raises(SecretsShredded):
                    first.secrets({"k1": KEY})
            else:
                assert first.secrets({"k1": KEY}) == TOKENS


def ordered(found: list[PortalEvent]) -> list[PortalEvent]:
    return sorted(found, key=lambda event: event.id)


async def test_who_holds_one_portals_token_can_not_shred_what_another_had_sealed() -> None:
    tokens = {"m1": TOKEN, "a.bitrix24.ru": TOKEN, "b.bitrix24.ru": "0" * 32}
    async with sealing(tokens={"m1": TOKEN, "b.bitrix24.ru": "0" * 32}, key="domain") as ingest:
        await ingest.post(EVENT.replace("A.Bitrix24.ru", "not a domain"))
        theirs = call("m1", "ONAPPUNINSTALL", "&data[CLEAN]=1")
        answer = await ingest.post(theirs.replace("A.Bitrix24.ru", "b.bitrix24.ru").replace(TOKEN, "0" * 32))
        async with reader(ingest.queue) as registry:
            await asyncio.sleep(0.05)
            book = await registry.following.refresh(10)

        assert tokens and answer.status_code == 200
        assert book.members["m1"].data_key is not None


async def test_a_call_that_can_not_be_read_is_sealed_whole_by_its_portals_key_and_opened_for_an_operator() -> None:
    async with sealing(max_depth=4) as ingest:
        await ingest.post(call(more="&data[a][b][c][d][e]=1"))
        (kept,) = ingest.records(".quarantine")
        settings = IngestSettings(seal_keys=SEAL_KEYS)  # type: ignore[arg-type]  # pydantic makes secrets of them
        keys = await keyring(settings, ingest.queue)

        assert b"accessible" in opened_body(kept, keys)
        assert dict(kept.headers)["forebay_quarantine_key_id"].startswith(b"portal/m1/")
        with pytest.raises(CannotOpen, match="sealed with the key of portal m1, which can't be had"):
            opened_body(kept, {"k1": KEY})


@asynccontextmanager
async def registry_with(**keys: bytes) -> AsyncIterator[PortalRegistry]:
    """Portals that have keys, wrapped by the key of that id."""
    queue = MemoryQueue()
    async with reader(queue) as registry:
        for member, seal_key in keys.items():
            name = Named(member, uuid4().hex)
            wrapped = wrap(b"d" * 32, name, {f"{seal_key[0]}": seal_key}, b"1" * 12)
            await registry.data_keys.propose(member, DataKey(name.id, wrapped))
        yield registry


async def test_open_keys_are_held_in_memory_up_to_a_number() -> None:
    async with registry_with(m1=OLD, m2=OLD, m3=OLD) as registry:
        keys = PortalKeys(registry, {"0": OLD}, Waits(0.01), most=2)
        found = [keys.cipher(member) for member in ("m1", "m2", "m3", "m1")]

        assert all(found) and len(keys) == 2
        assert keys.cipher("m1") == found[3]


async def test_a_host_without_the_newest_seal_key_seals_by_its_own_meanwhile() -> None:
    async with registry_with(m1=b"n" * 32) as registry:
        assert PortalKeys(registry, {"0": OLD}, Waits(0.01)).cipher("m1") is None
        assert PortalKeys(registry, {"0": OLD, f"{ord('n')}": b"n" * 32}, Waits(0.01)).cipher("m1") is not None


async def test_a_key_that_is_wrapped_anew_opens_what_it_sealed_before() -> None:
    async with registry_with(m1=OLD) as registry:
        before = PortalKeys(registry, {"0": OLD}, Waits(0.01)).cipher("m1")
        key = registry.data_keys.current("m1")
        assert key and before
        name = Named("m1", key.id)
        anew = wrap(unwrap(key.wrapped, name, {"0": OLD}), name, {"new": KEY}, b"2" * 12)
        await registry.data_keys.rewrap("m1", DataKey(key.id, anew))

        after = PortalKeys(registry, {"new": KEY}, Waits(0.01)).cipher("m1")

    assert after and after[0] == before[0]
    assert after[1].decrypt(b"1" * 12, before[1].encrypt(b"1" * 12, b"x", b""), b"") == b"x"
