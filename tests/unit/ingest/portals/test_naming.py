"""A portal that is renamed keeps its key, and its handlers learn of the new domain."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest

from forebay.ingest.address import NOTHING
from forebay.ingest.authenticate import Sender
from forebay.ingest.metrics import IngestMetrics, PortalCounts
from forebay.ingest.outlet import Outlet
from forebay.ingest.portals.naming import Naming
from forebay.queues.contract import Delivery, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryProducer, MemoryQueue
from forebay.queues.portals.contract import Fact
from forebay.queues.portals.members import Member
from forebay.queues.portals.registry import PortalRegistry
from forebay.queues.portals.tokens import TokenKeys
from forebay.schemas.codec import codec
from forebay.schemas.event import PortalEvent
from tests.bitrix24.oauth import FakeOAuth
from tests.unit.ingest.portals.conftest import DOMAIN, MEMBER, Learning, body, install, learning

NEW = "second.bitrix24.com"
KEYS = TokenKeys({})

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


class LateQueue(MemoryQueue):
    """While it is late it takes a record when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_late, self.waiting = False, list[Callable[[], None]]()

    def producer(self) -> MemoryProducer:
        queue = self

        class Late(MemoryProducer):
            def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
                submit = partial(super().submit, stream, record, delivery)
                queue.waiting.append(submit) if queue.is_late else submit()

        return Late(self)


async def test_a_rename_is_told_once_for_all_calls_that_come_while_it_is_on_its_way(oauth: FakeOAuth) -> None:
    queue = LateQueue()
    async with learning(oauth, queue) as ingest:
        await ingest.post(install())
        await ingest.proved()
        queue.is_late = True

        calls = [asyncio.create_task(ingest.post(body(domain=NEW, number=number))) for number in range(20)]
        while not queue.waiting:
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        on_their_way, queue.is_late = len(queue.waiting), False
        queue.waiting.pop()()
        await asyncio.gather(*calls)

        assert on_their_way == 1
        assert [event.name for event in ingest.events()[1:]] == ["ONPORTALRENAMED", *["ONCRMDEALADD"] * 20]
        assert "forebay_portals_renamed_total 1.0" in ingest.metrics.exposition().decode()


async def test_both_domains_are_known_of_the_portal(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        pin = await ingest.proved()

        await ingest.post(body(domain=NEW))

        while not pin.member.domains:
            await asyncio.sleep(0.001)
        assert (pin.member.portal, pin.member.domains) == (DOMAIN, (NEW,))
        await ingest.post(body(domain="third.bitrix24.com"))
        assert renames(ingest)[1].data == {"FROM": NEW, "TO": "third.bitrix24.com"}


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


@asynccontextmanager
async def naming(rename: Callable[[Member, str], Awaitable[None]]) -> AsyncIterator[tuple[Naming, MemoryQueue]]:
    """Without HTTP; how a new domain is noted the test says."""
    queue = MemoryQueue()
    outlet, registry = Outlet(queue, topic="events", partitions=1), PortalRegistry(queue.portals("events"), KEYS)
    registry.rename = rename  # type: ignore[method-assign, assignment]
    await outlet.open()
    made = Naming("/bitrix24", outlet, registry, codec(), PortalCounts(IngestMetrics()))
    yield made, queue
    for task in made.noting:
        task.cancel()
    await outlet.close()


async def learn(naming: Naming, member_id: str, domain: str) -> None:
    sender = Sender(portal=f"{member_id}.ru", member_id=member_id, verified=True, address=NOTHING)
    await naming.learn(sender, Member(member_id), domain)


def told(queue: MemoryQueue) -> list[str]:
    return [record.key for log in queue.logs["events"] for record in log]


async def test_while_no_rename_is_noted_as_many_of_each_portal_are_told_and_none_because_of_others() -> None:
    async def hang(member: Member, domain: str) -> None:
        await asyncio.Event().wait()

    async with naming(hang) as (ours, queue):
        for number in range(20):
            await learn(ours, "m1", f"{number}.ru")
            await learn(ours, f"other{number}", "new.ru")

        assert told(queue).count("m1.ru") == 16
        assert {*told(queue)} == {"m1.ru", *(f"other{number}.ru" for number in range(20))}


async def test_renames_that_can_not_be_noted_are_told_once_each_and_remembered_up_to_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("forebay.ingest.portals.naming._TOLD", 3)
    refuses = True

    async def refuse(member: Member, domain: str) -> None:
        if refuses:
            raise QueueUnavailable("it is away")

    async with naming(refuse) as (ours, queue):
        for _ in range(3):
            for number in range(3):
                await learn(ours, f"m{number}", "new.ru")
                await asyncio.sleep(0)
        told_before = told(queue)
        await learn(ours, "m3", "new.ru")
        await asyncio.sleep(0)
        remembered, refuses = len(ours._told), False
        await learn(ours, "m3", "new.ru")
        await asyncio.sleep(0)

        assert told_before == ["m0.ru", "m1.ru", "m2.ru"]
        assert (remembered, len(ours._told)) == (1, 0), "what is noted is known by that"


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
