"""A queue in an empty RabbitMQ for each test."""

from collections.abc import AsyncIterator

import pytest

from forebay.queues.contract import Queue
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.integration.queues.members import PARTITIONS, STREAM
from tests.integration.queues.stage import Stage
from tests.integration.sql_fixtures import producer as producer


@pytest.fixture
def url(rabbitmq_url: str) -> str:
    return rabbitmq_url


@pytest.fixture
async def queue(url: str) -> AsyncIterator[Queue]:
    queue = open_queue(QueueSettings(queue_url=url))
    await queue.ensure([STREAM, "another"], PARTITIONS)
    yield queue
    await queue.close()


@pytest.fixture
async def stage(url: str, queue: Queue) -> AsyncIterator[Stage]:
    stage = Stage(url)
    transport = await stage.open()
    yield stage
    stage.end()
    transport.close()
