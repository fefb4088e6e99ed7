"""A queue in a database of its own for each test, in each system that has a server."""

import pytest

from forebay.queues.contract import Queue
from forebay.queues.sql.database import Database
from tests.integration.queue_fixtures import producer as producer
from tests.integration.queue_fixtures import queue as queue
from tests.integration.sql_servers.systems import SYSTEMS, System


@pytest.fixture(params=SYSTEMS)
def named(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def system(named: str) -> System:
    return SYSTEMS[named]


@pytest.fixture
def url(named: str, request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{named}_url")
    return url


@pytest.fixture
def database(system: System, url: str, queue: Queue) -> Database:
    return system.database(url)
