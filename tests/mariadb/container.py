"""MariaDB in a container, where there is a Docker engine and no package."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from tests.databases.server import PASSWORD, wait_until

from .server import enter

#: As in Debian 12, whose package the tests use where it is there.
_IMAGE = "mariadb:10.11"

_PORT = 3306
_READY_S = 120


@contextmanager
def mariadb_container() -> Iterator[str]:
    """MariaDB's own image; gives the URL of a first database."""
    container = DockerContainer(_IMAGE).with_exposed_ports(_PORT)
    container.with_env("MARIADB_ROOT_PASSWORD", PASSWORD).with_env("MARIADB_DATABASE", "forebay")
    # It starts twice: the first time, without a port, is for making the user.
    container.waiting_for(LogMessageWaitStrategy("port: 3306").with_startup_timeout(_READY_S))
    with container:
        host, port = container.get_container_host_ip(), container.get_exposed_port(_PORT)
        url = f"mariadb://root:{quote(PASSWORD, safe='')}@{host}:{port}/forebay"
        wait_until("MariaDB", lambda: enter(url))
        yield url
