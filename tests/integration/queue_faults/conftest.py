"""Queues in each system whose server, or whose users, a test kills."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.databases.server import DatabaseServer
from tests.integration.queue_faults.systems import SYSTEMS, System
from tests.integration.queue_fixtures import producer as producer
from tests.integration.queue_fixtures import queue as queue
from tests.integration.queue_fixtures import stage as stage


@pytest.fixture(params=["sqlite", *SYSTEMS, "memcached", "rabbitmq"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/queue.db"
    if request.param == "memcached":
        # Its own, since it has room for so much only.
        return str(request.getfixturevalue("memcached_servers")("-m", "256").url())
    if request.param == "rabbitmq":
        return str(request.getfixturevalue("rabbitmq_url"))
    url: str = request.getfixturevalue(SYSTEMS[request.param].url)
    return url


@pytest.fixture(params=SYSTEMS)
def system(request: pytest.FixtureRequest) -> System:
    return SYSTEMS[request.param]


@pytest.fixture
def server(system: System, request: pytest.FixtureRequest) -> DatabaseServer:
    start: Callable[[], DatabaseServer] = request.getfixturevalue(system.servers)
    return start()
