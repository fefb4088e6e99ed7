"""A queue in a PostgreSQL database of its own for each test."""

import pytest

from forebay.queues.contract import Queue
from forebay.queues.sql.postgresql.database import PostgresqlDatabase
from tests.integration.queue_fixtures import producer as producer
from tests.integration.queue_fixtures import queue as queue


@pytest.fixture
def url(postgresql_url: str) -> str:
    return postgresql_url


@pytest.fixture
def database(postgresql_url: str, queue: Queue) -> PostgresqlDatabase:
    return PostgresqlDatabase(postgresql_url)
