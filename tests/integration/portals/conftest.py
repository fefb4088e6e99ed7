"""Stores of facts about portals in every system that has them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from forebay.queues.opening import open_queue
from forebay.queues.portals.contract import PortalStore
from forebay.queues.portals.registry import PortalRegistry
from forebay.queues.portals.tokens import TokenKeys
from forebay.queues.settings import QueueSettings
from tests.integration.systems import SYSTEMS, of_every_system

TOPIC = "events"
KEYS = {"2026": b"k" * 32}


@pytest.fixture(params=of_every_system("memcached", "rabbitmq", "kafka-classic"))
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> QueueSettings:
    return SYSTEMS[request.param](tmp_path, request).model_copy(update={"topic": TOPIC})


@asynccontextmanager
async def opened(settings: QueueSettings) -> AsyncIterator[PortalStore]:
    """A store as another host has it."""
    queue = open_queue(settings)
    store = queue.portals(settings.topic)
    yield store
    await store.close()
    await queue.close()


@asynccontextmanager
async def host(settings: QueueSettings) -> AsyncIterator[PortalRegistry]:
    """A registry as another host has it, that has read everything."""
    queue = open_queue(settings)
    registry = PortalRegistry(queue.portals(settings.topic), TokenKeys(KEYS))
    registry.open()
    await registry.following.refresh(30)
    yield registry
    await registry.close()
    await queue.close()


@pytest.fixture
async def store(settings: QueueSettings) -> AsyncIterator[PortalStore]:
    async with opened(settings) as store:
        await store.ensure()
        yield store
