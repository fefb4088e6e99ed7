"""Stores of facts about portals in every system that has them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from forebay.queues.opening import open_queue
from forebay.queues.portals.contract import PortalStore
from forebay.queues.portals.registry import PortalRegistry
from forebay.queues.portals.tokens import TokenKeys
from forebay.queues.settings import QueueSettings
from tests.kafka.fixtures import Kafka

TOPIC = "events"
KEYS = {"2026": b"k" * 32}

SYSTEMS: dict[str, Callable[[Path, pytest.FixtureRequest], QueueSettings]] = {
    "memory": lambda folder, _: QueueSettings(data_dir=folder, topic=TOPIC, queue_url=f"memory://{uuid4()}"),
    "sqlite": lambda folder, _: QueueSettings(data_dir=folder, topic=TOPIC),
    "postgresql": lambda folder, request: QueueSettings(
        data_dir=folder, topic=TOPIC, queue_url=request.getfixturevalue("postgresql_url")
    ),
    "mariadb": lambda folder, request: QueueSettings(
        data_dir=folder, topic=TOPIC, queue_url=request.getfixturevalue("mariadb_url")
    ),
    "redis": lambda folder, request: QueueSettings(
        data_dir=folder, topic=TOPIC, queue_url=request.getfixturevalue("redis_url")
    ),
    "kafka": lambda folder, request: QueueSettings(data_dir=folder, topic=TOPIC, queue_url=_empty_kafka(request)),
}


def _empty_kafka(request: pytest.FixtureRequest) -> str:
    kafka: Kafka = request.getfixturevalue("kafka")
    kafka.empty()
    return f"kafka://{kafka.bootstrap}"


@pytest.fixture(params=[pytest.param(one, marks=pytest.mark.kafka if one == "kafka" else ()) for one in SYSTEMS])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> QueueSettings:
    return SYSTEMS[request.param](tmp_path, request)


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
