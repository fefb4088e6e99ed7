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


def _at(url: str) -> Fresh:
    """By the fixture that gives such a URL."""
    return lambda folder, request: QueueSettings(data_dir=folder, queue_url=request.getfixturevalue(url))


SYSTEMS: dict[str, Fresh] = {
    "memory": lambda folder, _: QueueSettings(data_dir=folder, queue_url=f"memory://{uuid4()}"),
    "sqlite": lambda folder, _: QueueSettings(data_dir=folder),
    "postgresql": _at("postgresql_url"),
    "mariadb": _at("mariadb_url"),
    "redis": _at("redis_url"),
    "memcached": _at("memcached_url"),
    "rabbitmq": _at("rabbitmq_url"),
    "kafka": lambda folder, request: QueueSettings(data_dir=folder, queue_url=_empty_kafka(request)),
    "kafka-classic": lambda folder, request: QueueSettings(
        data_dir=folder, queue_url=_empty_kafka(request), kafka={"group.protocol": "classic"}
    ),
}


def of_every_system(*but: str) -> list[ParameterSet]:
    """The names with which a fixture is to be parametrized, of all but these."""
    return [
        pytest.param(name, marks=pytest.mark.kafka if name.startswith("kafka") else ())
        for name in SYSTEMS
        if name not in but
    ]


def _empty_kafka(request: pytest.FixtureRequest) -> str:
    kafka: Kafka = request.getfixturevalue("kafka")
    kafka.empty()
    return kafka.url
