"""Tokens that were hashed by an earlier key, and proofs beside the registry."""

import asyncio

from forebay.queues.memory import MemoryQueue
from tests.bitrix24.oauth import FakeOAuth
from tests.unit.ingest.portals.conftest import (
    ACCESS,
    KEY,
    body,
    install,
    learning,
)

OTHER_KEY = "B" * 43 + "="


async def test_a_token_is_hashed_by_the_new_key_when_its_portal_calls(oauth: FakeOAuth) -> None:
    queue = MemoryQueue()
    async with learning(oauth, queue) as ingest:
        await ingest.post(install())
        await ingest.proved()

    async with learning(oauth, queue, seal_keys={"2027": OTHER_KEY, "2026": KEY}) as ingest:
        assert (await ingest.post(body())).status_code == 200
        assert ingest.events()[-1].subscription.verified
        while (pin := await ingest.proved()).proof.key_id != "2027":  # type: ignore[union-attr]
            await asyncio.sleep(0.001)

    async with learning(oauth, queue, seal_keys={"2027": OTHER_KEY}) as ingest:
        await ingest.post(body())
        assert ingest.events()[-1].subscription.verified
        assert [one.proof.key_id for one in pin.member.pins if one.proof] == ["2027"]


async def test_a_portal_whose_key_went_too_early_is_not_locked_out(oauth: FakeOAuth) -> None:
    queue = MemoryQueue()
    async with learning(oauth, queue) as ingest:
        await ingest.post(install())
        await ingest.proved()

    async with learning(oauth, queue, seal_keys={"2027": OTHER_KEY}) as ingest:
        assert (await ingest.post(body(access=ACCESS))).status_code == 200
        assert ingest.events()[-1].subscription.verified is False
        await ingest.proved()


async def test_a_secret_in_the_url_proves_a_call_beside_the_registry(oauth: FakeOAuth) -> None:
    secret = "0123456789abcdef"
    async with learning(oauth, auth=["registry", "url-secret"], url_secret=secret) as ingest:
        assert (await ingest.post(body(token=""), f"/bitrix24/{secret}")).status_code == 200

        assert ingest.event().subscription.verified is True
