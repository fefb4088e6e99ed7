"""The PostgreSQL that the tests share: the one that is named, or one started here."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.kafka.container import docker_answers
from tests.missing import missing

from .container import postgresql_container
from .server import NoPostgresql, Server, fresh_database, wait_until

#: The URL of those who run a PostgreSQL of their own, for a user who may make databases.
NAMED = "FOREBAY_TEST_POSTGRESQL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgresql:
    """Where the server is; `server` is there when it is ours to stop, to restart and to set."""

    url: str
    server: Server | None = None

    def ours(self) -> Server:
        """The server; skips the test when it is somebody else's."""
        if self.server is None:
            pytest.skip("this PostgreSQL is not ours: the test needs the system's package")
        return self.server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """A PostgreSQL. Use a fresh database each."""
    with ExitStack() as running:
        yield named_or_started(running)


@pytest.fixture
def postgresql_url(postgresql: Postgresql) -> Iterator[str]:
    """The URL of an empty database."""
    with fresh_database(postgresql.url) as url:
        yield url


@pytest.fixture
def servers() -> Iterator[Callable[..., Server]]:
    """Starts servers of the test's own, with these settings. They end with the test."""
    with ExitStack() as running:

        def started(*options: str) -> Server:
            try:
                return running.enter_context(Server(options))
            except NoPostgresql as reason:
                missing(str(reason))

        yield started


def named_or_started(running: ExitStack) -> Postgresql:
    """The PostgreSQL that is named, or one that is started."""
    if named := os.environ.get(NAMED):
        return _named(named)
    try:
        server = running.enter_context(Server())
    except NoPostgresql as reason:
        if not docker_answers():
            missing(f"{reason}; no Docker engine answers either; or name a PostgreSQL in {NAMED}")
        return Postgresql(url=running.enter_context(postgresql_container()))
    return Postgresql(url=server.url(), server=server)


def _named(url: str) -> Postgresql:
    try:
        wait_until(url, lambda: None)
    except NoPostgresql as error:
        pytest.fail(f"{NAMED} is set, and {error}")
    return Postgresql(url=url)
