"""A queue in an empty Memcached for each test."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from forebay.queues.memcached import reading
from tests.integration.sql_fixtures import producer as producer
from tests.integration.sql_fixtures import queue as queue
from tests.memcached.server import direct


@pytest.fixture
def url(memcached_url: str) -> str:
    return memcached_url


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    with closing(direct(url)) as client:
        yield client


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is taken for gone after a moment."""
    monkeypatch.setattr(reading, "PATIENCE_S", 0.2)
