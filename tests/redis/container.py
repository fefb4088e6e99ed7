"""Redis in a container, where there is a Docker engine and no package."""

from collections.abc import Iterator
from contextlib import contextmanager

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from tests.databases.server import wait_until

from .server import enter

#: As in Debian 12, whose package the tests use where it is there.
_IMAGE = "redis:7.0"

_PORT = 6379
_READY_S = 120


@contextmanager
def redis_container() -> Iterator[str]:
    """Redis's own image; gives its URL."""
    container = DockerContainer(_IMAGE).with_exposed_ports(_PORT)
    container.with_command("redis-server --appendonly yes --appendfsync always")
    container.waiting_for(LogMessageWaitStrategy("Ready to accept connections").with_startup_timeout(_READY_S))
    with container:
        url = f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(_PORT)}/0"
        wait_until("Redis", lambda: enter(url))
        yield url
