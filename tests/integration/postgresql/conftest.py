"""A queue in a PostgreSQL database of its own for each test, and relays that lose its answers."""

from collections.abc import AsyncIterator

import pytest

from forebay.queues.contract import Producer, Queue
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.queues.sql.postgresql.database import PostgresqlDatabase
from tests.integration.queues.members import PARTITIONS, STREAM


@pytest.fixture
async def queue(postgresql_url: str) -> AsyncIterator[Queue]:
    queue = open_queue(QueueSettings(queue_url=postgresql_url))
    await queue.ensure([STREAM, "another"], PARTITIONS)
    yield queue
    await queue.close()


@pytest.fixture
async def producer(queue: Queue) -> AsyncIterator[Producer]:
    producer = queue.producer()
    yield producer
    await producer.close()


@pytest.fixture
def database(postgresql_url: str, queue: Queue) -> PostgresqlDatabase:
    return PostgresqlDatabase(postgresql_url)
