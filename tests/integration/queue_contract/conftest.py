"""The queues that the contract's tests run on, and their parts."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import uuid4

import pytest
from _pytest.mark import ParameterSet

from forebay.queues.contract import (
    Inspector,
    Queue,
)
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.integration.queue_contract.parts import PARTITIONS, STREAM
from tests.integration.sql_fixtures import producer as producer
from tests.kafka.fixtures import Kafka

#: System → the settings of a fresh and empty queue of it.
SYSTEMS: dict[str, Callable[[Path, pytest.FixtureRequest], QueueSettings]] = {
    "memory": lambda folder, _: QueueSettings(data_dir=folder, queue_url=f"memory://{uuid4()}"),
    "sqlite": lambda folder, _: QueueSettings(data_dir=folder),
    "postgresql": lambda folder, request: QueueSettings(
        data_dir=folder, queue_url=request.getfixturevalue("postgresql_url")
    ),
    "mariadb": lambda folder, request: QueueSettings(data_dir=folder, queue_url=request.getfixturevalue("mariadb_url")),
    "rabbitmq": lambda folder, request: QueueSettings(
        data_dir=folder, queue_url=request.getfixturevalue("rabbitmq_url")
    ),
    "kafka": lambda folder, request: QueueSettings(data_dir=folder, queue_url=_empty_kafka(request)),
    "kafka-classic": lambda folder, request: QueueSettings(
        data_dir=folder, queue_url=_empty_kafka(request), kafka={"group.protocol": "classic"}
    ),
}


def _empty_kafka(request: pytest.FixtureRequest) -> str:
    kafka: Kafka = request.getfixturevalue("kafka")
    kafka.empty()
    return f"kafka://{kafka.bootstrap}"


def _marked(system: str) -> ParameterSet:
    return pytest.param(system, marks=pytest.mark.kafka if system.startswith("kafka") else ())


@pytest.fixture(params=map(_marked, SYSTEMS))
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> QueueSettings:
    return SYSTEMS[request.param](tmp_path, request)


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
