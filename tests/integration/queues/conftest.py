"""A queue in a database of its own for each test, in each system that the SQL queue serves."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from forebay.queues.contract import Producer, Queue
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.queues.sql.database import Database
from forebay.queues.sql.postgresql.database import PostgresqlDatabase
from forebay.queues.sql.sqlite import SqliteDatabase
from tests.integration.queues.members import PARTITIONS, STREAM


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/queue.db"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
async def queue(url: str) -> AsyncIterator[Queue]:
    queue = open_queue(QueueSettings(queue_url=url))
    await queue.ensure([STREAM, "another"], PARTITIONS)
    yield queue
    await queue.close()


@pytest.fixture
async def producer(queue: Queue) -> AsyncIterator[Producer]:
    producer = queue.producer()
    yield producer
    await producer.close()


@pytest.fixture
def database(url: str, queue: Queue) -> Database:
    if url.startswith("sqlite"):
        return SqliteDatabase(make_url(url), busy_s=0.1)
    return PostgresqlDatabase(url)
