"""A queue in a file of its own for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from forebay.queues.contract import Producer, Queue
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.queues.sql.sqlite import SqliteDatabase
from tests.integration.queues.members import PARTITIONS, STREAM


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    queue = open_queue(QueueSettings(data_dir=tmp_path))
    await queue.ensure([STREAM, "another"], PARTITIONS)
    yield queue
    await queue.close()


@pytest.fixture
async def producer(queue: Queue) -> AsyncIterator[Producer]:
    producer = queue.producer()
    yield producer
    await producer.close()


@pytest.fixture
def database(tmp_path: Path, queue: Queue) -> SqliteDatabase:
    return SqliteDatabase(make_url(f"sqlite:///{tmp_path}/queue.db"), busy_s=0.1)
