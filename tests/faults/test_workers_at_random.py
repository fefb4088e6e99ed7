"""Workers and faults that come together, by chance: a server that hangs, a death, and portals whose handlers fail."""

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.databases.server import DatabaseServer
from tests.e2e.crew import Crew, crew, kafka_url
from tests.e2e.site import Site
from tests.e2e.trouble import HANDLERS, LADDER
from tests.kafka.cluster import Cluster, Node
from tests.order import judge

from .chance import Broker, Chance, Fault, ServerFaults
from .networks import Proxy
from .reporting import Report, Row

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

_WORKERS = ("a", "b", "c")

#: Events a second, for so many seconds.
_RATE, _SECONDS = 150.0, 90.0

#: How long a worker is frozen: less than its session, or longer. And how long it stays away once it has ended.
_FROZEN_S, _AWAY_S = (0.3, 9.0), (0.0, 3.0)

#: So many portals are in trouble at a time.
_IN_TROUBLE = 5


class WorkerFaults:
    """What happens to one worker."""

    def __init__(self, chance: Chance, made: Crew, name: str) -> None:
        self._chance, self._made, self._name = chance, made, name
        #: One hand's.
        self.all = (self.kill_worker, self.stop_worker, self.freeze_worker, self.freeze_worker)

    async def kill_worker(self) -> None:
        """It dies, and is started again."""
        process = self._made.site.running[self._name]
        process.kill()
        await asyncio.to_thread(process.wait)
        self._made.book.gone(process.pid)
        await self._start()

    async def stop_worker(self) -> None:
        """SIGTERM, and another in its place."""
        status = await asyncio.to_thread(self._made.site.stop, self._name)
        # The latter where it had only begun to start.
        assert status in (0, -signal.SIGTERM), self._made.site.log(self._name)
        await self._start()

    async def _start(self) -> None:
        await self._chance.between(_AWAY_S)
        await asyncio.to_thread(self._made.start, self._name)

    async def freeze_worker(self) -> None:
        """It stands still, perhaps so long that the others get what it has."""
        pid = self._made.pid(self._name)
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED)
        self._made.book.gone(pid)
        await self._chance.between(_FROZEN_S)
        os.kill(pid, signal.SIGCONT)


class PortalTroubles:
    """What happens to portals: their events are tried again, their portals are parked, and loaded again."""

    def __init__(self, chance: Chance, site: Site, portals: list[str]) -> None:
        self._chance, self._site, self._portals = chance, site, portals
        #: One hand's.
        self.all = (self.fail_portals, self.hang_portals)

    async def fail_portals(self) -> None:
        """Each call for them fails."""
        await self._trouble("{}")

    async def hang_portals(self) -> None:
        """Each call for them takes as long as this lasts, or until its deadline."""
        await self._trouble("{}.hangs")

    async def _trouble(self, name: str) -> None:
        some = [
            self._site.folder / name.format(portal) for portal in self._chance.rng.sample(self._portals, _IN_TROUBLE)
        ]
        for path in some:
            path.touch()
        await self._chance.lasting()
        for path in some:
            path.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class Under:
    """A queue that is to be broken, by whatever breaks it."""

    system: str
    url: str
    hands: list[Sequence[Fault]]
    settings: Mapping[str, object] = field(default_factory=dict)


#: Fixtures that start servers of the systems.
_SERVERS = {
    "postgresql": "servers",
    "mariadb": "mariadb_servers",
    "redis": "redis_servers",
    "rabbitmq": "rabbitmq_servers",
    "memcached": "memcached_servers",
}


@pytest.fixture(
    params=[
        *(pytest.param(one, marks=pytest.mark.kafka) for one in ("kafka (consumer)", "kafka (classic)")),
        *_SERVERS,
        "sqlite",
    ]
)
def under(request: pytest.FixtureRequest, chance: Chance, tmp_path: Path) -> Iterator[Under]:
    system: str = request.param
    if system.startswith("kafka"):
        node = Node(1, tmp_path / "node")
        with Proxy(node.port) as proxy:
            node.advertised_port = proxy.port
            cluster: Cluster = request.getfixturevalue("clusters")([node])
            protocol = {"kafka": {"group.protocol": system[7:-1]}}
            faults = ServerFaults(chance, Broker(cluster), proxy)
            yield Under(system=system, url=kafka_url(cluster.bootstrap), hands=[faults.all], settings=protocol)
    elif system == "sqlite":
        yield Under(system=system, url=f"sqlite:///{tmp_path}/queue.db", hands=[])
    else:
        server: DatabaseServer = request.getfixturevalue(_SERVERS[system])()
        with Proxy(server.port) as proxy:
            faults = ServerFaults(chance, server, proxy, durable=system != "memcached")
            yield Under(system=system, url=proxy.way_to(server.url()), hands=[faults.all])


@pytest.fixture
def chance() -> Chance:
    return Chance()


async def test_faults_that_come_together_cost_workers_no_event_and_no_order(
    under: Under, chance: Chance, site: Site, report: Report
) -> None:
    settings = {**LADDER, **under.settings, "drain_s": 5, "deadline_s": 1}
    async with crew(site, under.url, **settings) as made:
        (site.folder / "shop.py").write_text(HANDLERS)
        made.start(*_WORKERS)
        hands = [*under.hands, *(WorkerFaults(chance, made, name).all for name in _WORKERS)]
        if made.can_park:
            hands.append(PortalTroubles(chance, site, made.portals).all)

        async with made.loaded(_RATE):
            for name in _WORKERS:
                await made.works(name, 1)
            async with chance.played(*hands):
                await asyncio.sleep(_SECONDS)
        await made.ended()
        # One may have been started a moment ago, and does not know yet what SIGTERM is.
        await made.until("workers", lambda: all("events are taken" in site.log(name) for name in _WORKERS))
        for name in _WORKERS:
            await made.stop(name)
        uncommitted = await made.uncommitted()

    lines = made.book.read().lines
    verdict = judge(made.sent, lines)
    row = Row.handled(
        f"everything: queue, network, workers and portals' handlers, by chance, several at a time ({under.system})",
        len(made.places),
        verdict,
        bound=None,
        note="150 events a second of 40 portals, 3 workers; twice: came to a handler again, after what could not be "
        f"committed while the queue was away; {chance.told}",
    )
    report.add(row)
    print(row)
    assert verdict.good, verdict
    assert uncommitted == {}
