"""A data key of a portal is the same on every host, and is gone everywhere when the portal is forgotten."""

import asyncio
import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from forebay.queues.portals import facts
from forebay.queues.portals.contract import PortalStore
from forebay.queues.portals.members import DataKey
from forebay.queues.settings import QueueSettings
from tests.integration.portals.conftest import host
from tests.integration.portals.test_portal_stores import read_all, told

MEMBER = "c0ffee00c0ffee00c0ffee00c0ffee00"
HOSTS = 5


def key(number: int) -> DataKey:
    return DataKey(f"key{number}", b"wrapped%d" % number)


async def test_hosts_that_propose_a_key_at_once_end_with_one(settings: QueueSettings, store: PortalStore) -> None:
    async with AsyncExitStack() as stack:
        hosts = [await stack.enter_async_context(host(settings)) for _ in range(HOSTS)]

        won = await asyncio.gather(*(one.data_keys.propose(MEMBER, key(at)) for at, one in enumerate(hosts)))

        assert len(set(won)) == 1
        for one in hosts:
            await one.following.refresh(20)
            assert one.data_keys.current(MEMBER) == won[0]


async def test_a_key_that_lost_the_race_still_opens(settings: QueueSettings, store: PortalStore) -> None:
    async with host(settings) as one, host(settings) as other:
        await asyncio.gather(one.data_keys.propose(MEMBER, key(1)), other.data_keys.propose(MEMBER, key(2)))
        book = await one.following.refresh(20)

        for proposed in book.members[MEMBER].data_keys:
            assert one.data_keys.find(MEMBER, proposed.id) == proposed


async def test_a_key_is_there_after_a_restart(settings: QueueSettings, store: PortalStore) -> None:
    async with host(settings) as one:
        won = await one.data_keys.propose(MEMBER, key(1))

    async with host(settings) as again:
        assert again.data_keys.current(MEMBER) == won


async def test_a_key_that_is_wrapped_anew_stays_under_its_id(settings: QueueSettings, store: PortalStore) -> None:
    async with host(settings) as one, host(settings) as other:
        await one.data_keys.propose(MEMBER, key(1))

        await one.data_keys.rewrap(MEMBER, DataKey("key1", b"by another seal key"))

        await other.following.refresh(20)
        assert other.data_keys.current(MEMBER) == DataKey("key1", b"by another seal key")


async def test_a_portal_that_is_forgotten_has_no_key_on_any_host(settings: QueueSettings, store: PortalStore) -> None:
    async with host(settings) as one, host(settings) as other:
        await one.data_keys.propose(MEMBER, key(1))

        await other.forget(MEMBER)

        await one.following.refresh(20)
        assert one.data_keys.current(MEMBER) is None
        assert one.data_keys.find(MEMBER, "key1") is None
        assert not [fact for fact in told(await read_all(store)).values() if b"wrapped" in (fact or b"")]


async def test_a_portal_whose_keys_are_shredded_has_none_on_any_host_and_the_rest_stays(
    settings: QueueSettings, store: PortalStore
) -> None:
    async with host(settings) as one, host(settings) as other:
        await one.add("app", MEMBER, "token", "a.ru")
        await asyncio.gather(one.data_keys.propose(MEMBER, key(1)), other.data_keys.propose(MEMBER, key(2)))

        await one.following.refresh(20)
        doomed = one.data_keys.ids(MEMBER)
        shredded = await one.data_keys.shred(MEMBER, doomed)

        await other.following.refresh(20)
        known = other.member(MEMBER)
        assert shredded in (1, 2) and known and known.data_keys == ()
        assert known.portal == "a.ru"
        assert [pin.proof.application for pin in known.pins if pin.proof] == ["app"]
        assert not [fact for fact in told(await read_all(store)).values() if b"wrapped" in (fact or b"")]
        assert await one.data_keys.shred(MEMBER, doomed) == 0


async def test_a_late_shredding_leaves_the_key_that_the_portal_has_got_since(
    settings: QueueSettings, store: PortalStore
) -> None:
    async with host(settings) as one, host(settings) as other:
        await one.data_keys.propose(MEMBER, key(1))
        doomed = one.data_keys.ids(MEMBER)
        await one.data_keys.shred(MEMBER, doomed)
        await other.following.refresh(20)
        await other.data_keys.propose(MEMBER, key(2))

        assert await one.data_keys.shred(MEMBER, doomed) == 0

        assert one.data_keys.current(MEMBER) == key(2)


async def test_a_key_that_is_proposed_while_its_portal_is_forgotten_is_one_of_the_new_era(
    settings: QueueSettings, store: PortalStore
) -> None:
    async with host(settings) as one, host(settings) as other:
        await one.data_keys.propose(MEMBER, key(0))

        await asyncio.gather(other.forget(MEMBER), *(one.data_keys.propose(MEMBER, key(at)) for at in range(1, 4)))

        book = await other.following.refresh(20)
        assert not book.void
        left = [key for key, value in told(await read_all(store)).items() if value and "/datakey/" in key]
        era = book.members[MEMBER].era
        assert all(key.startswith(f"{MEMBER}/{era}/") for key in left), "a key of before is still there"


async def test_of_a_shredded_key_no_byte_is_left_in_the_file(settings: QueueSettings, store: PortalStore) -> None:
    if not settings.queue_url.startswith("sqlite"):
        pytest.skip("servers have their own time for it")
    file = settings.queue_url.removeprefix("sqlite:///")
    async with host(settings) as one:
        wrapped = b"shredded" * 40
        await one.data_keys.propose(MEMBER, DataKey("key1", wrapped))
        with closing(sqlite3.connect(file)) as opened:
            opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert facts.as_text(wrapped).encode() in Path(file).read_bytes()

        await one.forget(MEMBER)

    with closing(sqlite3.connect(file)) as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert facts.as_text(wrapped).encode()[:60] not in Path(file).read_bytes()


async def test_a_portal_that_comes_again_gets_a_new_key(settings: QueueSettings, store: PortalStore) -> None:
    async with host(settings) as one:
        await one.data_keys.propose(MEMBER, key(1))
        await one.forget(MEMBER)

        assert await one.data_keys.propose(MEMBER, key(2)) == key(2)
        assert one.data_keys.find(MEMBER, "key1") is None
