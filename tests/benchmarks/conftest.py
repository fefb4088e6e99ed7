"""What the benchmarks share."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.kafka.cluster import PRODUCTION_JVM
from tests.kafka.fixtures import Kafka, named_or_started


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A Kafka of one broker, started as it is in production. Use topics and groups of fresh names."""
    with ExitStack() as running:
        yield named_or_started(running, tmp_path_factory.mktemp("kafka"), PRODUCTION_JVM)
