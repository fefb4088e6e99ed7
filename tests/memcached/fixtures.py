"""The Memcached that the tests share: the one that is named, or one started here."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.databases.shared import Shared, System

from .container import memcached_container
from .server import MemcachedServer, empty, enter

MEMCACHED = System(
    name="Memcached",
    variable="FOREBAY_TEST_MEMCACHED",
    server=MemcachedServer,
    container=memcached_container,
    enter=enter,
)


@pytest.fixture(scope="session")
def memcached_server() -> Iterator[Shared[MemcachedServer]]:
    """A Memcached. Take it empty."""
    with ExitStack() as running:
        yield MEMCACHED.named_or_started(running)


@pytest.fixture
def memcached_url(memcached_server: Shared[MemcachedServer]) -> str:
    """The URL of an empty server."""
    empty(memcached_server.url)
    return memcached_server.url


@pytest.fixture
def memcached_servers() -> Iterator[Callable[..., MemcachedServer]]:
    """Starts servers of the test's own, with these options. They end with the test."""
    with ExitStack() as running:
        yield MEMCACHED.starter(running)
