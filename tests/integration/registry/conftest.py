"""What the tests of the schema registry start from."""

from collections.abc import AsyncIterator

import pytest

from forebay.queues.memory import MemoryQueue
from forebay.schemas import names
from tests.registry.fake import FakeRegistry
from tests.registry.fixtures import AnyRegistry
from tests.registry.fixtures import apicurio as apicurio
from tests.registry.fixtures import fake as fake
from tests.registry.fixtures import registry as registry
from tests.registry.site import PARTITIONS, TOPIC, Site


@pytest.fixture
async def fake_site(fake: FakeRegistry) -> AsyncIterator[Site]:
    """The same with the fake, for what the real one can't be told to do."""
    made = Site(registry=fake, queue=MemoryQueue())
    await made.queue.ensure(names.streams(TOPIC), PARTITIONS)
    yield made
    await made.stop()


@pytest.fixture
async def site(registry: AnyRegistry) -> AsyncIterator[Site]:
    """A queue in memory and the registry; its workers are stopped at the end."""
    made = Site(registry=registry, queue=MemoryQueue())
    await made.queue.ensure(names.streams(TOPIC), PARTITIONS)
    yield made
    await made.stop()
