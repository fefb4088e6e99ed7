"""An ingest and faults that come together, by chance: a disk that fails while the queue hangs, a death in between."""

import json
import os
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from random import Random
from urllib.parse import parse_qsl

import pytest

from forebay.console.traffic.simulated import Bodies
from tests.bitrix24.oauth import FakeOAuth, Installed
from tests.e2e.sending import TOKEN

from .chance import Chance
from .failing import End, Failing
from .ingest_hands import ANY_PORTAL, IngestFaults
from .stand import LONG, SEED, Stand
from .standing import unopened
from .under import Under, every_queue

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

_APPLICATION = "app.5a1b2c3d4e5f60.12345678"

#: Queues that can't keep what is known of portals, nor keys of their own.
_KEEP_NO_PORTALS = ("rabbitmq", "memcached")

#: Seconds of grace at a stop: so few that it may end before the queue is back.
_DRAIN_S = "4"


@pytest.fixture
def oauth() -> Iterator[FakeOAuth]:
    """Knows the application of each portal that the load sends of, but for those whose calls bring no access token."""
    with FakeOAuth() as fake:
        for portal in Bodies(LONG.portals, TOKEN, Random(SEED)).portals:
            if access_token := dict(parse_qsl(portal.auth)).get("auth[access_token]"):
                of = Installed(client_id=_APPLICATION, member_id=portal.member_id, domain=portal.domain)
                fake.knows[access_token] = of
        yield fake


def _registry(oauth: FakeOAuth) -> dict[str, str]:
    return {"auth": "registry", "client_id": _APPLICATION, "oauth_urls": json.dumps([oauth.url])}


def _settings(under: Under, oauth: FakeOAuth, *, is_all_on: bool) -> dict[str, str]:
    """With all on: what is learned of portals stands in the queue, as keys of their own do wherever it keeps them."""
    if under.system in _KEEP_NO_PORTALS:
        return ANY_PORTAL
    return {
        "seal_keys": json.dumps({"k1": b64encode(os.urandom(32)).decode()}),
        **(_registry(oauth) if is_all_on else ANY_PORTAL),
    }


@pytest.mark.parametrize("disk", [False, True], ids=["sound", "failing"])
@pytest.mark.parametrize("under", every_queue("kafka"), indirect=True)
async def test_faults_that_come_together_cost_nothing_that_was_acknowledged_and_no_order(
    under: Under,
    chance: Chance,
    stands: Callable[..., Stand],
    failing: Failing,
    oauth: FakeOAuth,
    disk: bool,
) -> None:
    if disk and under.system == "sqlite":
        pytest.skip("in front of a queue on the same disk there is no spool")
    stand = stands(under.url, replace(LONG, meanwhile=30_000))
    stand.site.variables = failing.environ
    stand.site.settings |= {"drain_s": _DRAIN_S, **_settings(under, oauth, is_all_on=disk)}
    await stand.start()
    ingest = IngestFaults(chance, stand, failing)
    hands = [*under.hands, ingest.ends, *([(ingest.fail_disk,)] if disk else [])]

    async with stand.loaded(), stand.fault():
        async with chance.played(*hands):
            await stand.meanwhile()
        failing.end(End.IN_WRITE, 0)

    what = "queue, network, processes and disk" if disk else "queue, network and processes"
    # Where neither the queue nor the disk can say that it has an event, its call waits.
    untimed = ("open_p99_ms", "bare_p99_ms", *(("p50_ms", "p99_ms", "max_ms") if disk else ()))
    row = await stand.judged(
        f"everything: {what} of an ingest, by chance, several at a time ({under.system})",
        bound=ingest.doubled(under),
        note=chance.told,
        **dict.fromkeys(untimed),
    )
    assert not any(answer.startswith("403") for answer in stand.portals.answers), stand.portals.answers
    if under.system not in _KEEP_NO_PORTALS:
        assert await unopened(stand.site, chain.from_iterable(stand.events.values())) == []
    # Whatever else breaks: as long as the disk is sound, every event that is heard is kept.
    assert disk or row.refused == 0
