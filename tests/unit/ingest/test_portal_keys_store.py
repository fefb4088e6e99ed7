"""Portals' keys while their store is away, hangs or refuses: no call waits for long, and none fails."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from forebay.ingest.portals.keys import PortalKeys
from forebay.ingest.portals.waits import Waits
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryQueue
from forebay.queues.portals.contract import Fact
from forebay.queues.portals.registry import PortalRegistry
from forebay.queues.portals.tokens import TokenKeys
from tests.unit.ingest.conftest import LONG_S, facts_of

from .sealing import KEY, TOKENS, call, events, key_ids, sealing


async def test_without_the_store_the_seal_key_seals_and_no_call_waits_or_fails() -> None:
    queue = MemoryQueue()
    facts_of(queue).down = True
    async with sealing(queue) as ingest:
        answers = [await ingest.post(call(f"m{number}")) for number in range(20)]

        assert {answer.status_code for answer in answers} == {200}
        assert set(key_ids(ingest)) == {"k1"}
        assert [event.secrets({"k1": KEY}) for event in events(ingest)] == [TOKENS] * 20


async def test_when_the_store_comes_back_new_secrets_have_a_key_of_their_portal() -> None:
    queue = MemoryQueue()
    facts_of(queue).down = True
    async with sealing(queue) as ingest:
        await ingest.post(call())
        facts_of(queue).down = False
        while not key_ids(ingest)[-1].startswith("portal/m1/"):
            await asyncio.sleep(0.05)
            await ingest.post(call())

        assert key_ids(ingest)[0] == "k1"


class HangingStore:
    """Takes nothing, and says nothing."""

    def __init__(self, queue: MemoryQueue) -> None:
        self._store = queue.portals("t")
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def put(self, facts: Sequence[Fact]) -> int:
        self.asked += 1
        await asyncio.Event().wait()
        return 0


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is being made as all ends is not waited for; of who waits for the store itself there is no end."""
    monkeypatch.setattr("forebay.ingest.portals.keys._PATIENCE_S", 0.01)
    monkeypatch.setattr("forebay.queues.portals.data_keys._PATIENCE_S", 3600.0)


@pytest.mark.usefixtures("hurried")
async def test_a_store_that_hangs_holds_a_call_up_for_a_moment_and_then_nobody() -> None:
    store = HangingStore(MemoryQueue())
    registry = PortalRegistry(store, TokenKeys({"k1": KEY}))
    registry.open()
    await registry.following.reached(-1, 10)
    keys = PortalKeys(registry, {"k1": KEY}, Waits(0.01))

    # Of the registry's own patience, which is longer, nobody waits for the end.
    async with asyncio.timeout(LONG_S):
        await asyncio.gather(*(keys.make(f"m{number}") for number in range(200)))

    assert store.asked == 64
    assert keys.cipher("m1") is None
    await keys.close()
    await registry.close()


async def test_a_store_that_was_never_read_is_asked_for_nothing() -> None:
    store = HangingStore(MemoryQueue())
    keys = PortalKeys(PortalRegistry(store, TokenKeys({"k1": KEY})), {"k1": KEY}, Waits(0.01))

    await keys.make("m1")

    assert store.asked == 0


@pytest.mark.usefixtures("hurried")
async def test_a_store_that_was_late_holds_up_one_call_in_a_while_and_keys_are_made_beside_the_calls() -> None:
    store, now = HangingStore(MemoryQueue()), 1000.0
    registry = PortalRegistry(store, TokenKeys({"k1": KEY}))
    registry.open()
    await registry.following.reached(-1, 10)
    waits = Waits(0.01, clock=lambda: now)
    keys = PortalKeys(registry, {"k1": KEY}, waits, clock=lambda: now)
    await keys.make("m1")

    assert not waits.are_allowed
    waits._longest_s = 3600.0
    async with asyncio.timeout(LONG_S):
        await asyncio.gather(*(keys.make(member) for member in ("m1", "m2")))
    assert store.asked == 2

    now += 5
    one = asyncio.create_task(keys.make("m3"))
    while store.asked < 3:
        await asyncio.sleep(0)
    async with asyncio.timeout(LONG_S):
        await asyncio.gather(*(keys.make(member) for member in ("m3", "m4")))
    assert store.asked == 4 and not one.done()
    one.cancel()
    await keys.close()
    await registry.close()


class RefusingStore(HangingStore):
    """Takes nothing, and says so."""

    async def put(self, facts: Sequence[Fact]) -> int:
        self.asked += 1
        raise QueueUnavailable("full")


async def test_a_store_that_has_failed_is_left_alone_for_a_while() -> None:
    store, now = RefusingStore(MemoryQueue()), 1000.0
    registry = PortalRegistry(store, TokenKeys({"k1": KEY}))
    registry.open()
    await registry.following.reached(-1, 10)
    keys = PortalKeys(registry, {"k1": KEY}, Waits(LONG_S), clock=lambda: now)

    await keys.make("m1")
    await keys.make("m2")
    assert store.asked == 1

    now += 5
    await keys.make("m2")
    assert store.asked == 2
    await keys.close()
    await registry.close()
