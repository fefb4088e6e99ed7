"""The Redis that the tests share: the one that is named, or one started here."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tests.databases.shared import Shared, System

from .container import redis_container
from .server import RedisServer, Sentinel, empty, enter

REDIS = System(
    name="Redis",
    variable="FOREBAY_TEST_REDIS",
    server=RedisServer,
    container=redis_container,
    enter=enter,
)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Shared[RedisServer]]:
    """A Redis. Take it empty."""
    with ExitStack() as running:
        yield REDIS.named_or_started(running)


@pytest.fixture
def redis_url(redis_server: Shared[RedisServer]) -> str:
    """The URL of an empty database."""
    empty(redis_server.url)
    return redis_server.url


@pytest.fixture
def redis_servers() -> Iterator[Callable[..., RedisServer]]:
    """Starts servers of the test's own, with these settings. They end with the test."""
    with ExitStack() as running:
        yield REDIS.starter(running)


@pytest.fixture
def redis_sentinel() -> Iterator[RedisServer]:
    """A Sentinel that watches over nobody."""
    with ExitStack() as running:
        yield replace(REDIS, server=Sentinel).starter(running)()
