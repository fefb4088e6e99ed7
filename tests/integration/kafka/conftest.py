"""What the tests of Kafka start from."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from forebay.queues.contract import Queue
from tests.integration.kafka.mocked import mocked
from tests.integration.queue_fixtures import inspector as inspector
from tests.kafka.fixtures import Kafka
from tests.kafka.members import PARTITIONS
from tests.kafka.mock_cluster import MockCluster
from tests.kafka.opener import Opener, opening


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opener]:
    async with opening(tmp_path) as opened:
        yield opened


@pytest.fixture
async def queue(kafka: Kafka, opened: Opener) -> Queue:
    return opened(kafka.bootstrap)


@pytest.fixture
async def stream(queue: Queue) -> str:
    """A topic that is there; its name is the group's too."""
    name = f"events-{uuid4().hex}"
    await queue.ensure([name], PARTITIONS)
    return name


@pytest.fixture
def mock(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockCluster]:
    """A cluster that errs on demand."""
    with mocked(monkeypatch) as made:
        yield made
