"""What is taken and learned of portals while their store is away."""

import asyncio

import pytest
from structlog.testing import capture_logs

from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryQueue
from tests.bitrix24.oauth import FakeOAuth
from tests.unit.ingest.portals.calls import asked
from tests.unit.ingest.portals.conftest import (
    ACCESS,
    APPLICATION,
    MEMBER,
    OTHER_TOKEN,
    Learning,
    body,
    install,
    learning,
)


class Fault:
    """What a store, or its client, raises."""

    def __init__(self, error: Exception) -> None:
        self.met, self._error = 0, error

    async def __call__(self, *_: object) -> None:
        self.met += 1
        raise self._error


async def test_what_is_confirmed_while_the_store_is_away_is_noted_when_it_is_back(
    oauth: FakeOAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        await ingest.proved()
        ingest.facts.down = True
        while ingest.desk.registry.is_current:
            await asyncio.sleep(0.001)
        verification, digest = ingest.desk.verification, digest_of(ingest, OTHER_TOKEN)
        with monkeypatch.context() as impatient:
            impatient.setattr("forebay.queues.portals.registry._PATIENCE_S", 0.01)
            await ingest.post(install(token=OTHER_TOKEN))
            while digest in verification._known:
                await asyncio.sleep(0.001)
        ingest.facts.down = False
        await ingest.desk.registry.following.reached(-1, 10)

        answer = await ingest.post(body(token=OTHER_TOKEN))

        assert answer.status_code == 200
        await ingest.proved(OTHER_TOKEN)
        assert oauth.asked == [ACCESS, ACCESS]
        # It has been read before who wrote it down goes on.
        while verification.is_trying(digest):
            await asyncio.sleep(0.001)


async def test_a_fault_of_a_stores_client_ends_neither_the_reading_nor_the_looking_again(
    oauth: FakeOAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.ingest.portals.verification._LOOK_EVERY_S", 0.001)
    monkeypatch.setattr("forebay.ingest.portals.unkept._AGAIN_S", 0.001)
    async with learning(oauth) as ingest:
        desk, fault = ingest.desk, Fault(RuntimeError("can't start new thread"))
        with monkeypatch.context() as faulty:
            faulty.setattr(desk.registry._store, "read", fault)
            faulty.setattr(desk.verification, "look", fault)
            faulty.setattr(desk.verification._unkept, "keep_all", fault)
            while fault.met < 10 or desk.state == "ok":
                await asyncio.sleep(0.001)
        told = desk.state
        await ingest.post(install())

        await ingest.proved()

        assert told == 'RuntimeError("can\'t start new thread")'
        assert desk.state == "ok"
        assert not any(task.done() for task in desk.verification._tasks)


async def test_made_up_calls_that_a_full_store_does_not_note_leave_the_log_readable(
    oauth: FakeOAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with learning(oauth) as ingest:
        monkeypatch.setattr(ingest.desk.registry._store, "put", Fault(QueueUnavailable("the disk is full")))

        with capture_logs() as logs:
            answers = [await ingest.post(install(member=f"made-up-{number}")) for number in range(300)]

        assert {answer.status_code for answer in answers} == {200}
        told = [one for one in logs if one["event"] == "what a portal has told could not be noted"]
        assert 0 < len(told) < 100


async def test_while_the_store_is_away_every_call_is_taken_and_marked(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        await ingest.proved()
        ingest.facts.down = True

        known, unknown = await ingest.post(body()), await ingest.post(body(token=OTHER_TOKEN))
        new = await ingest.post(install(member="new"))

        assert [answer.status_code for answer in (known, unknown, new)] == [200, 200, 200]
        assert [event.subscription.verified for event in ingest.events()[1:]] == [True, False, False]


async def test_a_store_that_comes_back_is_asked_again(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        await ingest.proved()
        ingest.facts.down = True
        assert (await ingest.post(body(token=OTHER_TOKEN))).status_code == 200
        ingest.facts.down = False
        while not ingest.desk.registry.is_current:
            await asyncio.sleep(0.001)

        assert (await ingest.post(body(token=OTHER_TOKEN))).status_code == 403


async def test_an_ingest_whose_store_is_away_from_the_start_takes_calls_and_says_so(oauth: FakeOAuth) -> None:
    queue = MemoryQueue()
    queue.portals("bitrix24.events")
    queue.fact_logs["bitrix24.events.portals"].down = True
    async with learning(oauth, queue) as ingest:
        answer = await ingest.post(install())
        ready = await ingest.conductor.simulate_get("/ready")

        assert answer.status_code == 200
        assert ready.status_code == 200
        assert ready.json["status"] == "degraded"
        assert "put down" in ready.json["parts"]["portals"]


async def test_another_ingest_verifies_what_one_that_died_has_only_noted(oauth: FakeOAuth) -> None:
    queue = MemoryQueue()
    oauth.may_answer.clear()
    async with learning(oauth, queue) as ingest:
        await ingest.post(install())
        await asked(oauth, ACCESS)
        oauth.answer = (503, b"")
        oauth.may_answer.set()
    oauth.answer = None

    async with learning(oauth, queue) as ingest:
        pin = ingest.pin()
        assert pin and pin.seen and not pin.proof
        registry = ingest.desk.registry
        registry._clock_ns = lambda: (pin.seen.at_ms + 30_000) * 1_000_000  # type: ignore[union-attr]
        await ingest.desk.verification.look()

        await ingest.proved()


async def test_what_is_not_verified_within_a_day_is_forgotten_and_counted(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install(access=""))
        await ingest.refresh()
        pin = ingest.pin()
        assert pin and pin.seen
        at_ms = pin.seen.at_ms
        ingest.desk.registry._clock_ns = lambda: (at_ms + 24 * 3_600_000 + 1) * 1_000_000

        await ingest.desk.verification.look()

        assert ingest.pin() is None
        assert b"forebay_portals_expired_total 1.0" in ingest.metrics.exposition()


def digest_of(ingest: Learning, token: str) -> bytes:
    return ingest.desk.registry.keys.digest(APPLICATION, MEMBER, token)
