"""The PostgreSQL that the tests share: the one that is named, or one started here."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.databases.shared import Shared, System

from .container import postgresql_container
from .server import Server, enter, fresh_database

POSTGRESQL = System(
    name="PostgreSQL",
    variable="FOREBAY_TEST_POSTGRESQL",
    server=Server,
    container=postgresql_container,
    enter=enter,
)

Postgresql = Shared[Server]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """A PostgreSQL. Use a fresh database each."""
    with ExitStack() as running:
        yield POSTGRESQL.named_or_started(running)


@pytest.fixture
def postgresql_url(postgresql: Postgresql) -> Iterator[str]:
    """The URL of an empty database."""
    with fresh_database(postgresql.url) as url:
        yield url


@pytest.fixture
def postgresql_servers() -> Iterator[Callable[..., Server]]:
    """Starts servers of the test's own, with these settings. They end with the test."""
    with ExitStack() as running:
        yield POSTGRESQL.starter(running)
