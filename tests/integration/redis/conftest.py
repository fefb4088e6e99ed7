"""A queue in an empty Redis for each test."""

import pytest

from forebay.queues.contract import Queue
from forebay.queues.redis.address import address
from forebay.queues.redis.connection import RedisStore
from tests.integration.queue_fixtures import producer as producer
from tests.integration.queue_fixtures import queue as queue
from tests.integration.queue_fixtures import stage as stage


@pytest.fixture
def url(redis_url: str) -> str:
    return redis_url


@pytest.fixture
def store(url: str, queue: Queue) -> RedisStore:
    return RedisStore(address(url))
