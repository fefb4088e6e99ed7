"""Who is let in where tokens are learned from calls, and how the call is marked."""

import asyncio

import pytest

from forebay.ingest.spool.spool import Spool
from forebay.schemas import names
from tests.bitrix24.oauth import FakeOAuth, Installed
from tests.unit.ingest.beginning import Began
from tests.unit.ingest.connections import turns
from tests.unit.ingest.portals.calls import asked
from tests.unit.ingest.portals.conftest import (
    ACCESS,
    APPLICATION,
    DOMAIN,
    MEMBER,
    OTHER_TOKEN,
    TOKEN,
    body,
    install,
    learning,
)


async def test_an_install_is_taken_unverified_and_then_the_token_is_proved(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        answer = await ingest.post(install())

        assert answer.status_code == 200
        assert ingest.event().subscription.verified is False
        pin = await ingest.proved()
        assert pin.proof and (pin.proof.how, pin.proof.domain) == ("app.info", DOMAIN)
        assert oauth.asked == [ACCESS]


async def test_events_are_verified_once_the_token_is_proved(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        await ingest.proved()

        await ingest.post(body())

        assert [event.subscription.verified for event in ingest.events()] == [False, True]
        assert [event.portal for event in ingest.events()] == [DOMAIN, DOMAIN]


async def test_a_proved_call_that_says_nothing_new_of_its_portal_needs_no_task(oauth: FakeOAuth, spool: Spool) -> None:
    async with learning(oauth, spool=spool) as ingest:
        await ingest.post(install())
        began = Began(ingest)
        assert not began.call(body(token=OTHER_TOKEN))
        await ingest.proved()

        assert began.call(body(number=2))
        # It brings the first secret of its portal, which is to have a key for it; the next has one.
        assert not began.call(body(number=3, access=ACCESS))
        await ingest.post(body(number=3, access=ACCESS))
        assert began.call(body(number=4, access=ACCESS))
        for unusual in (body("ONAPPUNINSTALL"), install(), body(domain="renamed.bitrix24.com")):
            assert not began.call(unusual)
        await turns()

        assert [event.fields["data[FIELDS][ID]"] for event in ingest.events()] == ["1", "2", "3", "4"]
        assert [event.subscription.verified for event in ingest.events()] == [False, True, True, True]
        assert len(began.heard) == 2


async def test_an_unverified_event_carries_the_hash_of_its_token_and_a_verified_one_none(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        pin = await ingest.proved()
        await ingest.post(body())

        first, second = (dict(record.headers) for record in ingest.records())
        assert first[names.PIN] == pin.digest.hex().encode()
        assert names.PIN not in second


async def test_in_quarantine_both_carry_it_as_whoever_reads_them_again_has_no_other_proof(oauth: FakeOAuth) -> None:
    async with learning(oauth, max_depth=4) as ingest:
        await ingest.post(install() + "&data[FAR][TOO][DEEP][FOR][US]=1")
        pin = await ingest.proved()
        await ingest.post(body() + "&data[FAR][TOO][DEEP][FOR][US]=1")

        marks = [dict(record.headers)[names.PIN] for record in ingest.records(".quarantine")]
        assert marks == [pin.digest.hex().encode()] * 2


async def test_another_token_than_the_proved_one_is_refused(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        await ingest.proved()

        answer = await ingest.post(body(token=OTHER_TOKEN))

        assert answer.status_code == 403
        assert len(ingest.records()) == 1


async def test_a_new_token_whose_install_was_missed_is_taken_with_what_proves_it(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        await ingest.proved()

        answer = await ingest.post(body(token=OTHER_TOKEN, access=ACCESS))

        assert answer.status_code == 200
        await ingest.proved(OTHER_TOKEN)


@pytest.mark.parametrize("member", [MEMBER, "made-up-{}"], ids=["of the portal", "of all"])
async def test_where_made_up_installs_leave_no_room_no_token_is_refused(
    oauth: FakeOAuth, member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.queues.portals.registry._WAITING", 8)
    async with learning(oauth) as ingest:
        await ingest.post(install())
        await ingest.proved()
        for number in range(8):
            await ingest.post(install(token=f"{number:032}", member=member.format(number), access=""))
        oauth.answer = (503, b"")
        await ingest.post(install(token=OTHER_TOKEN))
        await asked_times(oauth, 2)

        answer = await ingest.post(body(token=OTHER_TOKEN))

        assert answer.status_code == 200
        assert ingest.pin(OTHER_TOKEN) is None, "it would be noted"


async def test_a_token_of_one_portal_proves_no_other(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        await ingest.proved()

        await ingest.post(body(member="another"))

        assert ingest.events()[-1].subscription.verified is False


async def test_a_forged_install_is_taken_unverified_and_changes_nothing(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        await ingest.proved()

        answer = await ingest.post(install(token=OTHER_TOKEN, access="made-up"))
        await asked(oauth, "made-up")

        assert answer.status_code == 200
        assert ingest.events()[-1].subscription.verified is False
        await ingest.post(body())
        assert ingest.events()[-1].subscription.verified is True
        forged = ingest.pin(OTHER_TOKEN)
        assert forged is None or forged.proof is None


async def test_a_token_that_came_with_another_portals_access_token_is_refused_from_then_on(oauth: FakeOAuth) -> None:
    oauth.knows["of-another"] = Installed(client_id=APPLICATION, member_id="another", domain="another.bitrix24.com")
    async with learning(oauth) as ingest:
        await ingest.post(install(access="of-another"))
        while not (pin := ingest.pin()) or not pin.seen or not pin.seen.refused:
            await asyncio.sleep(0.001)

        answer = await ingest.post(body())

        assert answer.status_code == 403


async def test_a_token_that_came_with_another_applications_access_token_is_not_proved(oauth: FakeOAuth) -> None:
    oauth.knows["of-another"] = Installed(client_id="app.another", member_id=MEMBER, domain=DOMAIN)
    async with learning(oauth) as ingest:
        await ingest.post(install(access="of-another"))
        while not (pin := ingest.pin()) or not pin.seen or not pin.seen.refused:
            await asyncio.sleep(0.001)

        assert pin.proof is None


async def test_an_event_of_a_portal_that_nobody_knows_is_taken_unverified(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        answer = await ingest.post(body())

        assert answer.status_code == 200
        assert ingest.event().subscription.verified is False
        assert ingest.facts.facts == [], "nothing to verify it with, nothing to note"


async def test_what_is_too_long_for_an_access_token_is_neither_noted_nor_asked_about(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        answer = await ingest.post(install(access="a" * 100_000))

        assert answer.status_code == 200
        pin = ingest.pin()
        assert pin and pin.seen and pin.seen.trial is None
        assert sum(len(fact.value or b"") for fact in ingest.facts.facts) < 1000
        await ingest.post(install(token=OTHER_TOKEN))
        await ingest.proved(OTHER_TOKEN)
        assert oauth.asked == [ACCESS]


async def test_any_event_with_an_access_token_proves_the_portal_whose_install_was_missed(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(body(access=ACCESS))

        await ingest.proved()


async def test_an_access_token_that_has_expired_is_followed_by_the_next_calls(oauth: FakeOAuth) -> None:
    oauth.expired.add("old")
    async with learning(oauth) as ingest:
        await ingest.post(install(access="old"))
        while not (pin := ingest.pin()) or not pin.seen or pin.seen.trial:
            await asyncio.sleep(0.001)

        await ingest.post(body(access=ACCESS))

        await ingest.proved()


async def test_an_update_may_bring_a_new_token_and_the_one_before_stays(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        await ingest.proved()

        await ingest.post(body("ONAPPUPDATE", token=OTHER_TOKEN, access=ACCESS))
        await ingest.proved(OTHER_TOKEN)

        await ingest.post(body(token=OTHER_TOKEN))
        await ingest.post(body(token=TOKEN))
        assert [event.subscription.verified for event in ingest.events()] == [False, False, True, True]


async def test_an_uninstall_is_proved_by_the_token_which_stays_for_what_is_on_its_way(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        pin = await ingest.proved()

        await ingest.post(body("ONAPPUNINSTALL"))
        while not pin.member.left:
            await asyncio.sleep(0.001)

        assert (await ingest.post(body())).status_code == 200
        assert [event.subscription.verified for event in ingest.events()] == [False, True, True]
        assert pin.member.left[0][0] == APPLICATION


async def test_an_uninstall_without_the_token_uninstalls_nothing(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        pin = await ingest.proved()

        assert (await ingest.post(body("ONAPPUNINSTALL", token=OTHER_TOKEN))).status_code == 403

        await ingest.refresh()
        assert pin.member.left == ()


async def test_a_portal_that_installs_again_has_not_left(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install())
        pin = await ingest.proved()
        await ingest.post(body("ONAPPUNINSTALL"))
        while not pin.member.left:
            await asyncio.sleep(0.001)

        await ingest.post(install())

        while pin.member.left:
            await asyncio.sleep(0.001)
        assert ingest.events()[-1].subscription.verified is True


@pytest.mark.parametrize("given", [{"token": ""}, {"member": ""}])
async def test_a_call_that_can_never_be_proved_is_refused(oauth: FakeOAuth, given: dict[str, str]) -> None:
    async with learning(oauth) as ingest:
        assert (await ingest.post(install(**given))).status_code == 403


async def test_fifty_installs_at_once_leave_one_token_proved(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        forged = [install(token=f"{number:032}", access=f"made-up-{number}") for number in range(49)]
        calls = [*forged[:25], install(), *forged[25:]]

        answers = await asyncio.gather(*map(ingest.post, calls))

        assert {answer.status_code for answer in answers} == {200}
        pin = await ingest.proved()
        while len(oauth.asked) < 50:
            await asyncio.sleep(0.001)
        await ingest.refresh()
        assert [one for one in pin.member.pins if one.proof] == [pin]
        assert len([one for one in pin.member.pins if one.seen]) <= 8, "what anybody can send has a bound"


async def test_events_are_kept_by_their_domain_also_when_another_is_claimed_at_the_install(oauth: FakeOAuth) -> None:
    async with learning(oauth) as ingest:
        await ingest.post(install(domain="victim.bitrix24.com"))
        pin = await ingest.proved()

        assert pin.member.portal == DOMAIN, "the OAuth server's word counts, not the caller's"


async def asked_times(oauth: FakeOAuth, times: int) -> None:
    while len(oauth.asked) < times:
        await asyncio.sleep(0.001)
