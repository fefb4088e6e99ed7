"""Workers and faults that come together, by chance: a server that hangs, a death, and portals whose handlers fail."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.databases.server import DatabaseServer
from tests.e2e.crew import crew, kafka_url
from tests.e2e.site import Site
from tests.e2e.trouble import EVERY_KIND, KINDS, LADDER
from tests.kafka.cluster import Cluster, Node
from tests.order import judge

from .chance import Broker, Chance, Fault, ServerFaults
from .hands import OperatorOrders, PortalTroubles, WorkerFaults
from .networks import Proxy
from .reporting import Report, Row

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

_WORKERS = ("a", "b", "c")

#: Events a second, for so many seconds.
_RATE, _SECONDS = 150.0, 90.0


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
    settings = {**LADDER, **under.settings, "drain_s": 5, "deadline_s": 1, "cpu_processes": 1}
    async with crew(site, under.url, **settings) as made:
        (site.folder / "shop.py").write_text(EVERY_KIND)
        made.names = KINDS
        made.start(*_WORKERS)
        hands = [*under.hands, *(WorkerFaults(chance, made, name).all for name in _WORKERS)]
        orders = OperatorOrders(chance, made)
        if made.can_park:
            hands += [PortalTroubles(chance, site, made.portals).all, orders.all]

        async with made.loaded(_RATE):
            for name in _WORKERS:
                await made.works(name, 1)
            async with chance.played(*hands):
                await asyncio.sleep(_SECONDS)
        await orders.end()
        # One may have been started a moment ago, and does not know yet what SIGTERM is.
        await made.until("workers", lambda: all("events are taken" in site.log(name) for name in _WORKERS))
        for name in _WORKERS:
            await made.stop(name)
        uncommitted = await made.uncommitted()

    lines = made.book.read().lines
    verdict = judge(made.sent, lines)
    if made.can_park:
        verdict.out_of_order = [portal for portal in verdict.out_of_order if portal not in orders.given_up]
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
