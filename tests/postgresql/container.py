"""PostgreSQL in a container, where there is a Docker engine and no package."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from tests.databases.server import ADMIN, PASSWORD, wait_until

from .server import enter

#: As in Debian 12, whose package the tests use where it is there.
_IMAGE = "postgres:15"

_PORT = 5432
_READY_S = 120


@contextmanager
def postgresql_container() -> Iterator[str]:
    """PostgreSQL's own image; gives the URL of its first database."""
    container = DockerContainer(_IMAGE).with_exposed_ports(_PORT)
    container.with_env("POSTGRES_USER", ADMIN).with_env("POSTGRES_PASSWORD", PASSWORD).with_env(
        "POSTGRES_DB", "postgres"
    )
    # It starts twice: the first time is for making the user.
    container.waiting_for(LogMessageWaitStrategy("listening on IPv4 address").with_startup_timeout(_READY_S))
    with container:
        host, port = container.get_container_host_ip(), container.get_exposed_port(_PORT)
        url = f"postgresql://{ADMIN}:{quote(PASSWORD, safe='')}@{host}:{port}/postgres"
        wait_until("PostgreSQL", lambda: enter(url))
        yield url
