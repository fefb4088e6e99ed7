"""Answers while the store of portals hangs: one call waits for a moment, and then none does."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.bitrix24.oauth import FakeOAuth
from tests.unit.ingest.portals.conftest import (
    OTHER_TOKEN,
    TOKEN,
    Learning,
    body,
    install,
    learning,
)

#: Far more than any of these needs.
PATIENCE_S = 20.0


class Silence:
    """A store of portals that hangs."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, *_: object) -> int:
        self.asked += 1
        await asyncio.Event().wait()
        return 0


@pytest.fixture
def silent(oauth: FakeOAuth, monkeypatch: pytest.MonkeyPatch) -> Callable[[Learning], Silence]:
    """Lets the store of an ingest hang from now on; calls wait for it but a moment, and rest for ever.

    Bitrix24 proves nothing any more: what it proves is kept beside the calls, which asks the store too.
    """
    monkeypatch.setattr("forebay.ingest.portals.waits._REST_S", 3600.0)

    def hang(ingest: Learning) -> Silence:
        monkeypatch.setattr(ingest.desk._waits, "_longest_s", 0.05)
        monkeypatch.setattr("forebay.queues.portals.registry._PATIENCE_S", 3600.0)
        monkeypatch.setattr("forebay.ingest.portals.doorway._PATIENCE_S", 0.01)
        oauth.may_answer.clear()
        silence, store = Silence(), ingest.desk.registry._store
        monkeypatch.setattr(store, "put", silence)
        monkeypatch.setattr(store, "end", silence)
        return silence

    return hang


@pytest.mark.parametrize("call", [body(token=OTHER_TOKEN), install(token=OTHER_TOKEN)], ids=["event", "install"])
async def test_a_store_that_hangs_is_asked_once_and_then_no_call_waits_for_it(
    oauth: FakeOAuth, silent: Callable[[Learning], Silence], call: str
) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        await ingest.proved()
        silence = silent(ingest)

        async with asyncio.timeout(PATIENCE_S):
            answers = [await ingest.post(call) for _ in range(3)]

        assert [answer.status_code for answer in answers] == [200] * 3
        assert silence.asked == 1
        assert not ingest.events()[-1].subscription.verified


async def test_an_install_of_a_new_portal_does_not_wait_for_its_note(
    oauth: FakeOAuth, silent: Callable[[Learning], Silence]
) -> None:
    async with learning(oauth) as ingest:
        silence = silent(ingest)

        async with asyncio.timeout(PATIENCE_S):
            answers = [await ingest.post(install(token=token, access="")) for token in (TOKEN, OTHER_TOKEN)]

        assert [answer.status_code for answer in answers] == [200] * 2
        assert silence.asked == 1


async def test_a_note_that_takes_longer_than_a_call_waits_is_kept_in_the_end(
    oauth: FakeOAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    oauth.may_answer.clear()
    async with learning(oauth) as ingest:
        monkeypatch.setattr(ingest.desk._waits, "_longest_s", 0.05)
        registry, may_be_kept = ingest.desk.registry, asyncio.Event()
        put = registry._store.put

        async def slow(*given: Any) -> int:
            await may_be_kept.wait()
            return await put(*given)

        monkeypatch.setattr(registry._store, "put", slow)
        async with asyncio.timeout(PATIENCE_S):
            answer = await ingest.post(install())
            may_be_kept.set()
            while not registry.following.book.waiting:
                await asyncio.sleep(0)

        assert answer.status_code == 200
        oauth.may_answer.set()


async def test_calls_that_wait_for_one_answer_of_a_store_that_hangs_are_all_taken(
    oauth: FakeOAuth, silent: Callable[[Learning], Silence], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        await ingest.proved()
        silence = silent(ingest)

        async with asyncio.timeout(PATIENCE_S):
            first = asyncio.create_task(ingest.post(body(token=OTHER_TOKEN)))
            while not silence.asked:
                await asyncio.sleep(0)
            # Those behind it have all the time to ask for themselves.
            monkeypatch.setattr(ingest.desk._waits, "_longest_s", 3600.0)
            others = (ingest.post(body(token=f"{number:032}")) for number in range(8))
            answers = await asyncio.gather(first, *others)

        assert [answer.status_code for answer in answers] == [200] * 9
        assert silence.asked == 1


async def test_however_little_calls_wait_for_the_queue_a_strangers_token_is_refused(
    oauth: FakeOAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with learning(oauth, ack_deadline_ms=1) as ingest:
        await ingest.post(install())
        await ingest.proved()
        store, loop = ingest.desk.registry._store, asyncio.get_running_loop()
        end = store.end

        async def slower() -> int:
            until = loop.time() + 0.005
            while loop.time() < until:
                await asyncio.sleep(0)
            return await end()

        monkeypatch.setattr(store, "end", slower)

        answer = await ingest.post(body(token=OTHER_TOKEN))

        assert answer.status_code == 403


async def test_a_store_that_is_known_to_be_away_is_asked_for_nothing(
    oauth: FakeOAuth, silent: Callable[[Learning], Silence]
) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        await ingest.proved()
        silence = silent(ingest)
        ingest.desk.registry.following.why_not = "away"

        async with asyncio.timeout(PATIENCE_S):
            answer = await ingest.post(install(token=OTHER_TOKEN))

        assert answer.status_code == 200
        assert silence.asked == 0
