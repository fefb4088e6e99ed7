"""Every system that can be a queue, and the settings of an empty one of it."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from _pytest.mark import ParameterSet

from forebay.queues.settings import QueueSettings
from tests.kafka.fixtures import Kafka

#: Takes a folder and the test's request, and gives the settings of a queue that is fresh and empty.
Fresh = Callable[[Path, pytest.FixtureRequest], QueueSettings]

SYSTEMS: dict[str, Fresh] = {
    "memory": lambda folder, _: QueueSettings(data_dir=folder, queue_url=f"memory://{uuid4()}"),
    "sqlite": lambda folder, _: QueueSettings(data_dir=folder),
    "postgresql": lambda folder, request: QueueSettings(
        data_dir=folder, queue_url=request.getfixturevalue("postgresql_url")
    ),
    "mariadb": lambda folder, request: QueueSettings(data_dir=folder, queue_url=request.getfixturevalue("mariadb_url")),
    "redis": lambda folder, request: QueueSettings(data_dir=folder, queue_url=request.getfixturevalue("redis_url")),
    "memcached": lambda folder, request: QueueSettings(
        data_dir=folder, queue_url=request.getfixturevalue("memcached_url")
    ),
    "rabbitmq": lambda folder, request: QueueSettings(
        data_dir=folder, queue_url=request.getfixturevalue("rabbitmq_url")
    ),
    "kafka": lambda folder, request: QueueSettings(data_dir=folder, queue_url=_empty_kafka(request)),
    "kafka-classic": lambda folder, request: QueueSettings(
        data_dir=folder, queue_url=_empty_kafka(request), kafka={"group.protocol": "classic"}
    ),
}


def of_every_system(*but: str) -> list[ParameterSet]:
    """What a fixture is to be parametrized with, for all but these."""
    return [
        pytest.param(fresh, id=name, marks=pytest.mark.kafka if name.startswith("kafka") else ())
        for name, fresh in SYSTEMS.items()
        if name not in but
    ]


def _empty_kafka(request: pytest.FixtureRequest) -> str:
    kafka: Kafka = request.getfixturevalue("kafka")
    kafka.empty()
    return f"kafka://{kafka.bootstrap}"
