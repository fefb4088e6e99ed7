"""Memcached in a container, where there is a Docker engine and no package."""

from collections.abc import Iterator
from contextlib import contextmanager

from testcontainers.core.container import DockerContainer

from tests.databases.server import wait_until

from .server import enter

#: As in Debian 12, whose package the tests use where it is there.
_IMAGE = "memcached:1.6"

_PORT = 11211


@contextmanager
def memcached_container() -> Iterator[str]:
    """Memcached's own image; gives its URL."""
    with DockerContainer(_IMAGE).with_exposed_ports(_PORT) as container:
        url = f"memcached://{container.get_container_host_ip()}:{container.get_exposed_port(_PORT)}"
        wait_until("Memcached", lambda: enter(url))
        yield url
