"""The RabbitMQ that the tests share. It is always one of theirs: what is in it is deleted before each test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.missing import entered

from .server import Server


def _starter(running: ExitStack) -> Callable[..., Server]:
    def started(*options: str) -> Server:
        return entered(running, lambda: Server(options))

    return started


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[Server]:
    """A RabbitMQ. Empty it first."""
    with ExitStack() as running:
        yield _starter(running)()


@pytest.fixture
def rabbitmq_url(rabbitmq: Server) -> str:
    """The URL of an empty virtual host."""
    return rabbitmq.empty()


@pytest.fixture
def rabbitmq_servers() -> Iterator[Callable[..., Server]]:
    """Starts servers of the test's own, with these settings. They end with the test."""
    with ExitStack() as running:
        yield _starter(running)
