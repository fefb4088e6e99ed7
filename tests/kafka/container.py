"""The same Kafka in a container, where there is a Docker engine and no Java."""

from collections.abc import Iterator
from contextlib import contextmanager

import docker  # type: ignore[import-untyped]
from docker.errors import DockerException  # type: ignore[import-untyped]
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from .cluster import free_ports, wait_until
from .jars import kafka_version

_READY_S = 120


def docker_answers() -> bool:
    """Whether an engine is there."""
    try:
        client = docker.from_env(timeout=2)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except DockerException:
        return False
    finally:
        client.close()


@contextmanager
def kafka_container() -> Iterator[str]:
    """Kafka's own image; gives its bootstrap address."""
    [port] = free_ports(1)
    container = DockerContainer(f"apache/kafka:{kafka_version()}").with_bind_ports(port, port)
    for name, value in _properties(port).items():
        container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
    container.waiting_for(LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(_READY_S))
    with container:
        wait_until(f"127.0.0.1:{port}", 1)
        yield f"127.0.0.1:{port}"


def _properties(port: int) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": "1@localhost:9093",
        "listeners": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://localhost:9093",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.consumer.min.session.timeout.ms": "1000",
        "group.consumer.min.heartbeat.interval.ms": "200",
        "group.consumer.heartbeat.interval.ms": "300",
    }
