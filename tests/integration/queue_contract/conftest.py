"""The queues that the contract's tests run on, and their parts."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.queues.contract import (
    Inspector,
    Queue,
)
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.integration.queue_contract.parts import PARTITIONS, STREAM
from tests.integration.sql_fixtures import producer as producer
from tests.integration.systems import Fresh, of_every_system


@pytest.fixture(params=of_every_system())
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> QueueSettings:
    fresh: Fresh = request.param
    return fresh(tmp_path, request)


@pytest.fixture
async def queue(settings: QueueSettings) -> AsyncIterator[Queue]:
    queue = open_queue(settings)
    await queue.ensure([STREAM], PARTITIONS)
    yield queue
    await queue.close()


@pytest.fixture
async def inspector(queue: Queue) -> AsyncIterator[Inspector]:
    inspector = queue.inspector()
    yield inspector
    await inspector.close()
