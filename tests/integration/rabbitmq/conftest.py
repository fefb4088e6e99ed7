"""A queue in an empty RabbitMQ for each test."""

import pytest

from tests.integration.queue_fixtures import producer as producer
from tests.integration.queue_fixtures import queue as queue
from tests.integration.queue_fixtures import stage as stage


@pytest.fixture
def url(rabbitmq_url: str) -> str:
    return rabbitmq_url
