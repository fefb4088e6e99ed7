"""A portal has uninstalled with its data: which keys go, also when the store of portals is away meanwhile."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from forebay.ingest.address import Address
from forebay.ingest.authenticate import Sender
from forebay.ingest.portals.keys import PortalKeys
from forebay.ingest.portals.shreddings import Shredding, Shreddings
from forebay.ingest.portals.waits import Waits
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryQueue
from forebay.queues.portals import facts
from forebay.queues.portals.book import Book
from forebay.queues.portals.contract import Fact, PlacedFact
from forebay.queues.portals.members import DataKey, Member
from forebay.queues.portals.memory import FactLog
from forebay.queues.portals.registry import PortalRegistry
from forebay.queues.portals.tokens import TokenKeys
from forebay.schemas.data_keys import Named, named, wrap
from tests.bitrix24.oauth import FakeOAuth
from tests.unit.ingest.portals.conftest import ACCESS, Learning, body, install, learning, oauth

from .sealing import OLD

__all__ = ["oauth"]

SENDER = Sender(portal="a.ru", member_id="m1", verified=True, address=Address(path="", query=""), member_is_proved=True)


class StoreAway:
    """A store that one host can't reach, while `away` says why."""

    def __init__(self, queue: MemoryQueue) -> None:
        self._store = queue.portals("t")
        self.away = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def put(self, facts: Sequence[Fact]) -> int:
        self._check()
        return await self._store.put(facts)

    async def end(self) -> int:
        self._check()
        return await self._store.end()

    def _check(self) -> None:
        if self.away:
            raise QueueUnavailable(self.away)


@asynccontextmanager
async def host(store: Any) -> AsyncIterator[PortalRegistry]:
    registry = PortalRegistry(store, TokenKeys({}))
    registry.open()
    await registry.following.reached(-1, 10)
    yield registry
    await registry.close()


async def test_what_is_sealed_after_a_new_installation_is_not_shredded_by_a_shredding_that_comes_late(
    oauth: FakeOAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.ingest.portals.keys._AGAIN_S", 0.001)
    async with learning(oauth) as ingest:
        await ingest.post(install())
        await ingest.proved()
        await ingest.post(body(access=ACCESS))
        ingest.facts.down = True
        await ingest.post(body("ONAPPUNINSTALL") + "&data[CLEAN]=1")

        await ingest.post(install())
        await ingest.post(body(access=ACCESS))

        before, _, _, meanwhile = sealed_by(ingest)[1:]
        assert before.startswith("portal/") and meanwhile == "2026"
        ingest.facts.down = False
        while exists(ingest, before):
            await asyncio.sleep(0.001)
        await ingest.post(body(access=ACCESS))
        assert exists(ingest, sealed_by(ingest)[-1])


async def test_a_key_that_a_portal_gets_on_another_host_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.ingest.portals.keys._AGAIN_S", 0.001)
    queue = MemoryQueue()
    store = StoreAway(queue)
    async with host(store) as one, host(queue.portals("t")) as other:
        keys = PortalKeys(one, {}, Waits(0.01))
        store.away = "it hangs"

        await keys.shred(SENDER)
        key = await other.data_keys.propose("m1", DataKey("new", b"wrapped"))
        store.away = ""
        await all_shredded(keys)

        assert (await other.following.refresh(10)).members["m1"].data_keys == (key,)
        await keys.close()


async def test_a_key_that_another_host_made_a_moment_ago_goes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = MemoryQueue()
    async with host(queue.portals("t")) as registry:
        keys = PortalKeys(registry, {"0": OLD}, Waits(0.01))
        await queue.portals("t").put([given(DataKey("theirs", wrapped("theirs")))])
        assert not keys.has("m1"), "it is read already"
        put, sealed_with = registry.following.put, list[object]()

        async def put_meanwhile(facts: Sequence[Fact], patience_s: float) -> Book:
            sealed_with.append((keys.has("m1"), keys.cipher("m1")))
            return await put(facts, patience_s)

        monkeypatch.setattr(registry.following, "put", put_meanwhile)
        await keys.shred(SENDER)
        await all_shredded(keys)

        await registry.following.refresh(10)
        assert not registry.data_keys.ids("m1")
        assert sealed_with == [(True, None)]
        await keys.close()


async def test_a_key_that_is_wrapped_anew_while_it_is_shredded_does_not_come_back() -> None:
    queue = MemoryQueue()
    async with host(queue.portals("t")) as ingest, host(queue.portals("t")) as operator:
        await ingest.data_keys.propose("m1", DataKey("k1", b"wrapped"))
        await operator.following.refresh(10)

        # What the operator's host knows is a moment old.
        shredding = asyncio.create_task(ingest.data_keys.shred("m1", {"k1"}))
        while not any(fact.value is None for fact in queue.fact_logs["t.portals"].facts):
            await asyncio.sleep(0)
        assert operator.data_keys.find("m1", "k1"), "it knows of it already"
        await operator.data_keys.rewrap("m1", DataKey("k1", b"wrapped anew"))

        await shredding
        for registry in (ingest, operator):
            await registry.following.refresh(10)
            assert registry.data_keys.find("m1", "k1") is None
        assert not any(b"anew" in (fact.value or b"") for fact in last(queue.fact_logs["t.portals"]))


def last(log: FactLog) -> list[PlacedFact]:
    log.compact()
    return log.facts


async def test_what_was_not_shredded_before_the_stop_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.ingest.portals.keys._PATIENCE_S", 0.01)
    store = StoreAway(MemoryQueue())
    async with host(store) as registry:
        keys = PortalKeys(registry, {}, Waits(0.01))
        store.away = "it hangs"
        await keys.shred(SENDER)

        with capture_logs() as logs:
            await keys.close()

        told = [line for line in logs if line["event"] == "a portal's keys were not shredded before the stop"]
        assert [(line["portal"], line["log_level"]) for line in told] == [("a.ru", "error")]


async def test_where_nothing_was_read_of_the_portals_yet_the_keys_go_that_were_there_and_no_newer_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = MemoryQueue()
    store = StoreAway(queue)
    now_ms = time.time_ns() // 1_000_000
    async with host(queue.portals("t")) as other:
        await other.data_keys.propose("m1", DataKey("old", wrapped("old")))
        # It loses the race, and is kept beside the first.
        for key in (DataKey("older", b"wrapped", now_ms - 5000), DataKey("new", b"wrapped", now_ms + 60_000)):
            await other.following.put([given(key)], 10)
        store.away = "it is away"
        registry = PortalRegistry(store, TokenKeys({}))
        registry.open()
        keys = PortalKeys(registry, {"0": OLD}, Waits(0.01))

        refresh, may_look = registry.following.refresh, asyncio.Event()

        async def look(patience_s: float) -> Book:
            await may_look.wait()
            return await refresh(patience_s)

        monkeypatch.setattr(registry.following, "refresh", look)
        await keys.shred(SENDER)
        await registry.following.tried(10)
        store.away = ""
        while not keys.has("m1"):
            await asyncio.sleep(0.001)
        is_sealing_meanwhile = keys.cipher("m1") is not None
        may_look.set()
        await all_shredded(keys)

        assert not is_sealing_meanwhile
        await other.following.refresh(10)
        assert other.data_keys.ids("m1") == {"new"}
        await keys.close()
        await registry.close()


def wrapped(key_id: str) -> bytes:
    return wrap(b"d" * 32, Named("m1", key_id), {"0": OLD}, b"1" * 12)


def given(key: DataKey) -> Fact:
    return facts.fact(
        Member("m1").key(facts.DATA_KEY, key.id), {"wrapped": facts.as_text(key.wrapped), "at": key.at_ms}
    )


async def test_what_was_not_shredded_before_a_stop_is_shredded_by_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StoreAway(MemoryQueue())
    async with host(store) as registry:
        await registry.data_keys.propose("m1", DataKey("k1", b"wrapped"))
        store.away = "it hangs"
        before = PortalKeys(registry, {}, Waits(0.01), shreddings=Shreddings(tmp_path))
        await before.shred(SENDER)
        with monkeypatch.context() as hurried:
            hurried.setattr("forebay.ingest.portals.keys._PATIENCE_S", 0.01)
            await before.close()
        store.away = ""

        after = PortalKeys(registry, {}, Waits(0.01), shreddings=Shreddings(tmp_path))
        await after.open()
        await all_shredded(after)

        assert not registry.data_keys.ids("m1")
        assert Shreddings(tmp_path).left() == {}, "it is done again after the next start"
        await after.close()


async def test_nor_do_they_where_it_turns_out_that_another_application_is_installed_there() -> None:
    queue = MemoryQueue()
    store = StoreAway(queue)
    async with host(queue.portals("t")) as other:
        await other.data_keys.propose("m1", DataKey("theirs", b"wrapped"))
        await other.prove("another", "m1", b"0123456789abcdef", "a.ru", "by hand")
        store.away = "it is away"
        registry = PortalRegistry(store, TokenKeys({}))
        registry.open()
        keys = PortalKeys(registry, {"0": bytes(32)}, Waits(0.01))

        await keys.shred(SENDER, "one")
        await registry.following.tried(10)
        store.away = ""
        await all_shredded(keys)

        assert registry.data_keys.ids("m1") == {"theirs"}
        await keys.close()
        await registry.close()


async def test_a_note_that_is_damaged_or_can_not_be_kept_is_told_and_stops_nothing(tmp_path: Path) -> None:
    notes = Shreddings(tmp_path)
    one = Shredding(member_id="m1", portal=None, application="", at_ms=1, keys={"a", "b"})
    notes.keep("1", one)
    (tmp_path / "shreddings" / "2.json").write_bytes(b"{")
    with capture_logs() as logs:
        found = notes.left()
    notes.done("1")
    notes.done("1")

    assert found == {"1": one}
    assert [line["event"] for line in logs] == ["a portal's keys can't be shredded: the note is damaged"]
    assert [path.name for path in (tmp_path / "shreddings").iterdir()] == ["2.json"]


class SlowNotes(Shreddings):
    """On a disk that writes when it is let."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.may = threading.Event()

    def keep(self, name: str, one: Shredding) -> None:
        self.may.wait()
        super().keep(name, one)


@pytest.mark.parametrize("hangs", [False, True])
async def test_it_is_noted_before_the_call_is_answered_unless_the_disk_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    monkeypatch.setattr("forebay.ingest.portals.keys._PATIENCE_S", 0.01 if hangs else 100)
    store, notes = StoreAway(MemoryQueue()), SlowNotes(tmp_path)
    async with host(store) as registry:
        keys = PortalKeys(registry, {}, Waits(0.01), shreddings=notes)
        store.away = "it hangs"
        if not hangs:
            # When all is done that can be done without it.
            asyncio.get_running_loop().call_later(0.05, notes.may.set)

        await keys.shred(SENDER)

        assert len(notes.left()) == (0 if hangs else 1)
        notes.may.set()
        monkeypatch.setattr("forebay.ingest.portals.keys._PATIENCE_S", 0.01)
        await keys.close()


def sealed_by(ingest: Learning) -> list[str]:
    return [event.sealed.key_id if event.sealed else "" for event in ingest.events()]


def exists(ingest: Learning, key_id: str) -> bool:
    name = named(key_id)
    assert name
    return ingest.desk.registry.data_keys.find(name.member_id, name.id) is not None


async def all_shredded(keys: PortalKeys) -> None:
    while keys._shredding:
        await asyncio.sleep(0.001)
    assert not keys._doomed, "they are gone, and stay in memory"
