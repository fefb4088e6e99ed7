"""A queue in an empty Memcached for each test."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from forebay.queues.contract import Queue
from forebay.queues.memcached import reading
from forebay.queues.memcached.streams import Stream, find
from tests.integration.queue_fixtures import producer as producer
from tests.integration.queue_fixtures import queue as queue
from tests.integration.queues.members import STREAM
from tests.memcached.server import direct


class _Reached:
    """As much of a connection as finding a stream takes."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def get(self, keys: list[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = self._client.get_many(keys)
        return found


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


@pytest.fixture
def stream(client: Any, queue: Queue) -> Stream:
    return find(_Reached(client), STREAM)  # type: ignore[arg-type]
