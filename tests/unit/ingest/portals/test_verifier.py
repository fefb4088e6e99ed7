"""What the OAuth server's answer means, whatever it is."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.ingest.portals.verifier import (
    AppInfo,
    Claim,
    Confirmed,
    Denied,
    Unavailable,
    Unknown,
    Verdict,
    _judged,
)
from tests.bitrix24.oauth import FakeOAuth, Installed
from tests.unit.ingest.portals.conftest import ACCESS, APPLICATION, DOMAIN, MEMBER, install, learning

CLAIM = Claim(application=APPLICATION, member_id=MEMBER, access_token=ACCESS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["result", "error", "install"]), inner),
    max_leaves=8,
)


@given(st.integers(100, 599), JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=50))
def test_no_other_answer_confirms_a_claim_or_ends_the_verifying(status: int, answer: bytes) -> None:
    assert not isinstance(_judged(status, answer, CLAIM), Confirmed)


def test_a_claim_that_is_printed_shows_no_access_token() -> None:
    assert ACCESS not in repr(CLAIM)


async def test_a_server_that_does_not_know_the_token_is_followed_by_the_next(oauth: FakeOAuth) -> None:
    with FakeOAuth() as other:
        verdict = await AppInfo([other.url, oauth.url]).verdict(CLAIM)

    assert verdict == Confirmed(domain=DOMAIN)
    assert other.asked == [ACCESS]


async def test_a_server_that_is_gone_may_be_the_one_that_knows(oauth: FakeOAuth) -> None:
    del oauth.knows[ACCESS]

    verdict = await AppInfo(["http://127.0.0.1:1/rest", oauth.url], answer_s=2).verdict(CLAIM)

    assert isinstance(verdict, Unavailable)
    assert ACCESS not in verdict.reason


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((302, b""), Unavailable),
        ((500, b"{}"), Unavailable),
        ((200, b"<html>"), Unavailable),
        ((200, b'{"result":{"client_id":"another"}}'), Denied),
        ((200, b'{"result":{}}'), Unavailable),
        ((200, b'{"result":{"ID":"5","CODE":"local.5","INSTALLED":true}}'), Unavailable),
        ((200, b'{"result":{"client_id":"%b","install":[]}}' % APPLICATION.encode()), Unavailable),
        ((200, b'{"result":{"client_id":"%b","install":{"member_id":"m2"}}}' % APPLICATION.encode()), Denied),
        ((401, b'{"error":"expired_token"}'), Unknown),
        ((200, b'{"error":["expired_token"]}'), Unavailable),
    ],
)
async def test_an_answer_is_taken_for_what_it_is(
    oauth: FakeOAuth, answer: tuple[int, bytes], kind: type[Verdict]
) -> None:
    oauth.answer = answer

    assert isinstance(await AppInfo([oauth.url]).verdict(CLAIM), kind)


async def test_a_domain_that_is_none_confirms_nothing(oauth: FakeOAuth) -> None:
    oauth.knows[ACCESS] = Installed(client_id=APPLICATION, member_id=MEMBER, domain="no domain")

    assert isinstance(await AppInfo([oauth.url]).verdict(CLAIM), Unavailable)


async def test_a_verifier_that_fails_ends_nothing(oauth: FakeOAuth) -> None:
    class Failing:
        """Raises, which it must not."""

        calls = 0

        async def verdict(self, claim: Claim) -> Verdict:
            self.calls += 1
            if self.calls <= 8:
                raise RuntimeError(claim.access_token)
            return Confirmed(domain=DOMAIN)

    verifier = Failing()
    async with learning(oauth, verifier=verifier) as ingest:
        while not (pin := ingest.pin()) or not pin.proof:
            await ingest.post(install())
            await asyncio.sleep(0.01)

        assert verifier.calls == 9
        assert pin.proof.domain == DOMAIN
