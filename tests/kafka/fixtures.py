"""The Kafka that the tests share: the one that is named, or one started here."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from tests.missing import NotHere, entered, missing

from .cluster import TEST_JVM, Cluster, Node, wait_until
from .container import docker_answers, kafka_container
from .secured import Secured, secured_kafka

#: Set by those who run a Kafka of their own; the tests then make topics and groups in it, and leave them.
BOOTSTRAP = "FOREBAY_TEST_KAFKA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kafka:
    """Where the brokers are; `cluster` is there when they are ours to stop, to restart and to empty."""

    bootstrap: str
    cluster: Cluster | None = None

    @property
    def url(self) -> str:
        """The setting for it."""
        return f"kafka://{self.bootstrap}"

    def ours(self) -> Cluster:
        """The cluster; skips the test when it is somebody else's."""
        if self.cluster is None:
            pytest.skip("this Kafka is not ours: the test needs its jars, a java and mvn")
        return self.cluster

    def empty(self) -> None:
        """Delete every topic and group of ours."""
        self.ours()
        with AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}) as client:
            topics = [name for name in client.list_topics(timeout=10).topics if not name.startswith("__")]
            for one in (client.delete_topics(topics) if topics else {}).values():
                one.result(30)
            while groups := [group.group_id for group in client.list_consumer_groups().result(10).valid]:
                _delete_groups(client, groups)
            # The broker that answers hears of it after the controller that did it.
            while any(not name.startswith("__") for name in client.list_topics(timeout=10).topics):
                pass

    def delete(self, topic: str) -> None:
        """Delete one; it is gone for all who ask."""
        with AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}) as client:
            client.delete_topics([topic])[topic].result(10)
            # As above.
            while topic in client.list_topics(timeout=10).topics:
                pass


def _delete_groups(client: AdminClient, groups: list[str]) -> None:
    """But those whose members have just left, of which the coordinator has not heard yet, or which it has let go of."""
    for one in client.delete_consumer_groups(groups).values():
        try:
            one.result(30)
        except KafkaException as error:
            if error.args[0].code() not in (KafkaError.NON_EMPTY_GROUP, KafkaError.GROUP_ID_NOT_FOUND):
                raise


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A Kafka of one broker. Use topics and groups of fresh names."""
    with ExitStack() as running:
        yield named_or_started(running, tmp_path_factory.mktemp("kafka"))


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A Kafka with a listener for each way in. Use topics, groups and users' rights of fresh names."""
    with ExitStack() as running:
        yield entered(running, lambda: secured_kafka(tmp_path_factory.mktemp("secured")))


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Starts clusters of the test's own: so many nodes, or these, with these features. They end with the test."""
    with ExitStack() as running:

        def started(nodes: int | Sequence[Node] = 1, features: Sequence[str] = ()) -> Cluster:
            return entered(running, lambda: Cluster(tmp_path / f"kafka-{uuid4()}", nodes, features))

        yield started


def named_or_started(running: ExitStack, folder: Path, jvm: Sequence[str] = TEST_JVM) -> Kafka:
    """The Kafka that is named, or one broker in the folder, started with these flags."""
    named = os.environ.get(BOOTSTRAP)
    return _named(named) if named else _started(running, folder, jvm)


def _started(running: ExitStack, folder: Path, jvm: Sequence[str]) -> Kafka:
    try:
        cluster = running.enter_context(Cluster(folder, [Node(1, folder / "node-1", jvm)]))
    except NotHere as reason:
        if not docker_answers():
            missing(f"{reason}; no Docker engine answers either; or name a Kafka in {BOOTSTRAP}")
        return Kafka(bootstrap=running.enter_context(kafka_container()))
    return Kafka(bootstrap=cluster.bootstrap, cluster=cluster)


def _named(bootstrap: str) -> Kafka:
    try:
        wait_until(bootstrap, 1)
    except (NotHere, KafkaException) as error:
        pytest.fail(f"{BOOTSTRAP} is set, and {error}")
    return Kafka(bootstrap=bootstrap)
