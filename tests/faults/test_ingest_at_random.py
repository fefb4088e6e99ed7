"""An ingest and faults that come together, by chance: a disk that fails while the queue hangs, a death in between."""

import asyncio
import errno
import json
import os
import re
import signal
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from random import Random
from urllib.parse import parse_qsl

import pytest

from forebay.console.simulated import Bodies
from tests.bitrix24.oauth import FakeOAuth, Installed
from tests.e2e.sending import TOKEN
from tests.e2e.site import Site

from .chance import Chance
from .failing import End, Failing
from .hosts import kill_all, workers
from .stand import LONG, SEED, UNDECIDED, Stand
from .standing import unopened
from .under import Under, every_queue

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

_APPLICATION = "app.5a1b2c3d4e5f60.12345678"

#: Takes whatever the load sends.
_ANY_PORTAL = {"auth": "tokens", "tokens": json.dumps({"*": TOKEN})}

#: Queues that can't keep what is known of portals, nor keys of their own.
_KEEP_NO_PORTALS = ("rabbitmq", "memcached")

#: How producers of Memcached say that they write a batch once more.
_AGAIN = re.compile(r'"records": (\d+),[^{}]*"event": "(?:batch_written_late|write_undecided)"')

#: Seconds of grace at a stop: so few that it may end before the queue is back.
_DRAIN_S = "4"

#: A worker dies in one of its next so many calls of a kind.
_CALLS = 32

_DISK = (
    {"write": errno.ENOSPC},
    {"write": errno.EIO},
    {"sync": errno.ENOSPC},
    {"sync": errno.EIO},
    {"read": errno.EIO},
)


class IngestFaults:
    """Breaks the processes of an ingest, and their disk: each in turns of its own."""

    def __init__(self, chance: Chance, stand: Stand, failing: Failing) -> None:
        self._chance, self._stand, self._failing = chance, stand, failing
        #: One hand's: ends of processes.
        self.ends = (self.kill_worker, self.die_in_commit, self.restart, self.kill_all)

    async def kill_worker(self) -> None:
        """A process of the ingest dies, whichever it is."""
        if serving := workers(self._stand.site):
            os.kill(self._chance.rng.choice(serving), signal.SIGKILL)

    async def die_in_commit(self) -> None:
        """One is to die as it writes to the spool, when somebody next does."""
        rng = self._chance.rng
        self._failing.end(rng.choice(list(End)), rng.randint(1, _CALLS))

    async def restart(self) -> None:
        """SIGTERM to the ingest, and another in its place."""
        await asyncio.to_thread(self._stand.site.stop, "ingest")
        await self._start()

    async def kill_all(self) -> None:
        """Its processes die all at once, and another ingest is started."""
        await asyncio.to_thread(kill_all, self._stand.site)
        await self._start()

    async def _start(self) -> None:
        site = self._stand.site
        site.start("ingest", "ingest", "--processes", str(self._stand.processes))
        await asyncio.to_thread(site.wait, "the ingest", site.is_ready)

    async def fail_disk(self) -> None:
        """Writes, syncs or reads of the spool fail."""
        self._failing.fail(**self._chance.rng.choice(_DISK))
        await self._chance.lasting()
        self._failing.fail()


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
        return _ANY_PORTAL
    return {
        "seal_keys": json.dumps({"k1": b64encode(os.urandom(32)).decode()}),
        **(_registry(oauth) if is_all_on else _ANY_PORTAL),
    }


def _written_again(under: Under, site: Site) -> int:
    """What may stand twice because producers of Memcached were late or had no answer, by their own words."""
    said = _AGAIN.findall(site.earlier["ingest"] + site.log("ingest")) if under.system == "memcached" else []
    return sum(map(int, said))


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

    deaths = sum(chance.done[end.__name__] for end in ingest.ends)
    what = "queue, network, processes and disk" if disk else "queue, network and processes"
    # Where neither the queue nor the disk can say that it has an event, its call waits.
    untimed = ("open_p99_ms", "bare_p99_ms", *(("p50_ms", "p99_ms", "max_ms") if disk else ()))
    row = await stand.judged(
        f"everything: {what} of an ingest, by chance, several at a time ({under.system})",
        bound=deaths * UNDECIDED + chance.done.total() * LONG.connections + _written_again(under, stand.site),
        note=chance.told,
        **dict.fromkeys(untimed),
    )
    assert not any(answer.startswith("403") for answer in stand.portals.answers), stand.portals.answers
    if under.system not in _KEEP_NO_PORTALS:
        assert await unopened(stand.site, chain.from_iterable(stand.events.values())) == []
    # Whatever else breaks: as long as the disk is sound, every event that is heard is kept.
    assert disk or row.refused == 0
