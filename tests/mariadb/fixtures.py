"""The MariaDB that the tests share: the one that is named, or one started here."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.databases.shared import Shared, System

from .container import mariadb_container
from .server import Server, enter, fresh_database

MARIADB = System(
    name="MariaDB",
    variable="FOREBAY_TEST_MARIADB",
    server=Server,
    container=mariadb_container,
    enter=enter,
)

Mariadb = Shared[Server]


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Mariadb]:
    """A MariaDB. Use a fresh database each."""
    with ExitStack() as running:
        yield MARIADB.named_or_started(running)


@pytest.fixture
def mariadb_url(mariadb: Mariadb) -> Iterator[str]:
    """The URL of an empty database."""
    with fresh_database(mariadb.url) as url:
        yield url


@pytest.fixture
def mariadb_servers() -> Iterator[Callable[..., Server]]:
    """Starts servers of the test's own, with these settings. They end with the test."""
    with ExitStack() as running:
        yield MARIADB.starter(running)
