"""Queues that are broken by chance: each with its only server, and with the way to it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.databases.server import DatabaseServer
from tests.kafka.cluster import Cluster, Node

from .chance import Broker, Chance, Fault, ServerFaults
from .networks import Proxy


@dataclass(frozen=True, slots=True, kw_only=True)
class Under:
    """A queue that is to be broken, by whatever breaks it."""

    system: str
    url: str
    hands: list[Sequence[Fault]]
    settings: Mapping[str, object] = field(default_factory=dict)


#: Fixtures that start servers of the systems.
_SERVERS = {
    "postgresql": "postgresql_servers",
    "mariadb": "mariadb_servers",
    "redis": "redis_servers",
    "rabbitmq": "rabbitmq_servers",
    "memcached": "memcached_servers",
}

#: Options for their servers. What Memcached has no room for it throws away: it gets more than a test sends.
_OPTIONS = {"memcached": ("-m", "1024")}


def every_queue(*kafkas: str) -> list[Any]:
    """Parameters for `under`, of every system. Kafka as it is called here; in brackets a group's protocol."""
    return [*(pytest.param(one, marks=pytest.mark.kafka) for one in kafkas), *_SERVERS, "sqlite"]


@pytest.fixture
def chance() -> Chance:
    """What all that is drawn in a test is drawn by."""
    return Chance()


@pytest.fixture
def under(request: pytest.FixtureRequest, chance: Chance, tmp_path: Path) -> Iterator[Under]:
    """The queue that the parameter says. SQLite has no server."""
    system: str = request.param
    if system.startswith("kafka"):
        node = Node(1, tmp_path / "node")
        with Proxy(node.port) as proxy:
            node.advertised_port = proxy.port
            cluster: Cluster = request.getfixturevalue("clusters")([node])
            protocol = {"kafka": {"group.protocol": system[7:-1]}} if "(" in system else {}
            faults = ServerFaults(chance, Broker(cluster), proxy)
            yield Under(system=system, url=cluster.url, hands=[faults.all], settings=protocol)
    elif system == "sqlite":
        yield Under(system=system, url=f"sqlite:///{tmp_path}/queue.db", hands=[])
    else:
        server: DatabaseServer = request.getfixturevalue(_SERVERS[system])(*_OPTIONS.get(system, ()))
        with Proxy(server.port) as proxy:
            faults = ServerFaults(chance, server, proxy, durable=system != "memcached")
            yield Under(system=system, url=proxy.way_to(server.url()), hands=[faults.all])
