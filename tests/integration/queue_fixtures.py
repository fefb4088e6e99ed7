"""A queue of its own for each test, and its parts. Whoever takes these says in `url` where, or has a queue."""

from collections.abc import AsyncIterator

import pytest

from forebay.queues.contract import Inspector, Producer, Queue
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.integration.queues.members import PARTITIONS, STREAM
from tests.integration.queues.stage import Stage


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
async def inspector(queue: Queue) -> AsyncIterator[Inspector]:
    inspector = queue.inspector()
    yield inspector
    await inspector.close()


@pytest.fixture
async def stage(url: str, queue: Queue) -> AsyncIterator[Stage]:
    stage = Stage(url)
    transport = await stage.open()
    yield stage
    stage.end()
    transport.close()
