"""Which tokens of a portal are kept beside each other, and what is forgotten."""

import asyncio

from forebay.queues.memory import MemoryQueue
from tests.bitrix24.oauth import FakeOAuth
from tests.unit.ingest.portals.conftest import (
    APPLICATION,
    DOMAIN,
    KEY,
    MEMBER,
    TOKEN,
    Learning,
    body,
    install,
    learning,
)

OTHER_KEY = "B" * 43 + "="

#: Far more than any of these needs.
PATIENCE_S = 20.0


async def test_tokens_given_by_hand_make_no_room_for_others(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        given, learned = [f"{number:032}" for number in range(5)], [f"f{number:031}" for number in range(5)]
        for token in given:
            await ingest.desk.registry.add(APPLICATION, MEMBER, token, DOMAIN)
        for token in learned:
            await ingest.desk.registry.prove(APPLICATION, MEMBER, digest_of(ingest, token), DOMAIN, "app.info")
        await ingest.desk.registry.add(APPLICATION, MEMBER, TOKEN, DOMAIN)

        answers = [await ingest.post(body(token=token)) for token in [*given, TOKEN, *learned]]

        assert [answer.status_code for answer in answers] == [200] * 6 + [403] + [200] * 4


async def test_a_token_that_is_hashed_anew_takes_its_own_place(oauth: FakeOAuth) -> None:
    queue, tokens = MemoryQueue(), [f"{number:032}" for number in range(4)]
    async with learning(oauth, queue) as ingest:
        for token in tokens:
            await ingest.desk.registry.prove(APPLICATION, MEMBER, digest_of(ingest, token), DOMAIN, "app.info")
    async with learning(oauth, queue, seal_keys={"2027": OTHER_KEY, "2026": KEY}) as ingest:
        await ingest.post(body(token=tokens[-1]))
        await hashed_by("2027", ingest, tokens[-1])

        member = ingest.desk.registry.member(MEMBER)
        assert member and [pin.proof.key_id for pin in member.pins if pin.proof] == ["2026"] * 3 + ["2027"]
        assert [(await ingest.post(body(token=token))).status_code for token in tokens] == [200] * 4


async def test_a_seal_key_under_another_name_costs_no_token(oauth: FakeOAuth) -> None:
    queue = MemoryQueue()
    async with learning(oauth, queue) as ingest:
        await ingest.post(install())
        await ingest.proved()
    async with learning(oauth, queue, seal_keys={"2027": KEY}) as ingest:
        await ingest.post(body())
        await hashed_by("2027", ingest, TOKEN)
        await ingest.refresh()

        assert (await ingest.post(body())).status_code == 200
        assert ingest.events()[-1].subscription.verified


async def test_made_up_portals_are_forgotten_altogether(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        for number in range(8):
            await ingest.post(install(member=f"made-up-{number}", token=f"{number:032}", access=""))
        await ingest.refresh()
        registry = ingest.desk.registry

        await registry.drop(list(registry.following.book.waiting.values()))

        assert not registry.following.book.members


async def hashed_by(key_id: str, ingest: Learning, token: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not (pin := ingest.pin(token)) or not pin.proof or pin.proof.key_id != key_id:
            await asyncio.sleep(0.001)


def digest_of(ingest: Learning, token: str) -> bytes:
    return ingest.desk.registry.keys.digest(APPLICATION, MEMBER, token)
