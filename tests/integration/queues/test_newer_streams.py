"""What a newer Forebay has made is refused, and left as it is: nobody knows what it means."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from forebay.queues.errors import QueueError
from forebay.queues.memcached import streams as on_memcached
from forebay.queues.opening import open_queue
from forebay.queues.rabbitmq import catalog as on_rabbitmq
from forebay.queues.redis import streams as on_redis
from forebay.queues.settings import QueueSettings
from forebay.queues.sql import schema as on_sql
from tests.integration.queue_contract.parts import PARTITIONS, STREAM, Follower, record
from tests.integration.systems import SYSTEMS

_KNOWN_BY = {
    "sqlite": on_sql,
    "postgresql": on_sql,
    "mariadb": on_sql,
    "redis": on_redis,
    "memcached": on_memcached,
    "rabbitmq": on_rabbitmq,
}


@pytest.fixture(params=_KNOWN_BY)
def system(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def settings(system: str, tmp_path: Path, request: pytest.FixtureRequest) -> QueueSettings:
    return SYSTEMS[system](tmp_path, request)


@pytest.fixture
def newer(system: str, settings: QueueSettings) -> Iterator[pytest.MonkeyPatch]:
    """As long as this is not undone, we are the next Forebay, which keeps things in another way."""
    module: ModuleType = _KNOWN_BY[system]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "VERSION", module.VERSION + 1)
        if module is on_sql:
            patch.setitem(on_sql._META, "version", module.VERSION)
        yield patch


async def test_streams_of_a_newer_forebay_are_left_alone(settings: QueueSettings, newer: pytest.MonkeyPatch) -> None:
    its_queue = open_queue(settings)
    await its_queue.ensure([STREAM], PARTITIONS)
    its_producer = its_queue.producer()
    await its_producer.send(STREAM, record("portal", 1))
    newer.undo()
    queue = open_queue(settings)
    producer, inspector, consumer = queue.producer(), queue.inspector(), queue.consumer(STREAM, "group")

    for number in range(2):
        with pytest.raises(QueueError, match=r"made by a newer Forebay \(version 2, this one knows 1\): upgrade"):
            await producer.send(STREAM, record("portal", number))
    for asked in (
        queue.ensure([STREAM], PARTITIONS),
        queue.missing([STREAM], PARTITIONS),
        inspector.bounds(STREAM),
        consumer.start(Follower()),
    ):
        with pytest.raises(QueueError, match="newer Forebay"):
            await asked

    for part in (producer, inspector, consumer, its_producer, its_queue, queue):
        await part.close()
