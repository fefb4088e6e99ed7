"""The same Kafka in a container, where there is a Docker engine and no Java."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from string import Template
from warnings import catch_warnings

import docker  # type: ignore[import-untyped]
from docker.errors import DockerException  # type: ignore[import-untyped]
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from tests.ports import free_ports

from .cluster import PROPERTIES, wait_until
from .jars import kafka_version

_READY_S = 120

#: The controller's port, which is seen inside of the container only.
_CONTROLLER_PORT = 9093

#: What depends on the place, and what only our own cluster offers: SASL and rights.
_NOT_SHARED = ("listener", "advertised", "log.dirs", "sasl.", "authorizer.", "super.users", "allow.everyone")


def docker_answers() -> bool:
    """Whether an engine is there."""
    # Without one, its client leaves the sockets that did not connect to whoever collects them.
    with catch_warnings(action="ignore", category=ResourceWarning):
        answers = _pinged()
        gc.collect()
    return answers


def _pinged() -> bool:
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
    # A client goes on to where the broker says that it is: that has to be known before it starts.
    address = f"{container.get_docker_client().host()}:{port}"
    for name, value in properties(address).items():
        container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
    container.waiting_for(LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(_READY_S))
    with container:
        wait_until(address, 1)
        yield address


def properties(address: str) -> dict[str, str]:
    """Those of the tests' own cluster, as far as they fit, with a listener where the container has one."""
    filled = Template(PROPERTIES.read_text("utf-8")).safe_substitute(
        node=1, voters=f"1@localhost:{_CONTROLLER_PORT}", copies=1, in_sync=1
    )
    lines = (line.partition("=") for line in filled.splitlines() if line and not line.startswith("#"))
    shared = {name: value for name, _, value in lines if not name.startswith(_NOT_SHARED)}
    port = address.rpartition(":")[2]
    return shared | {
        "listeners": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://localhost:{_CONTROLLER_PORT}",
        "advertised.listeners": f"PLAINTEXT://{address}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    }
