"""A queue in a MariaDB database of its own for each test."""

import pytest

from forebay.queues.contract import Queue
from forebay.queues.sql.mariadb.database import MariadbDatabase
from tests.integration.queue_fixtures import producer as producer
from tests.integration.queue_fixtures import queue as queue


@pytest.fixture
def url(mariadb_url: str) -> str:
    return mariadb_url


@pytest.fixture
def database(mariadb_url: str, queue: Queue) -> MariadbDatabase:
    return MariadbDatabase(mariadb_url)
