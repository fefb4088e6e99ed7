"""The contract of queues: streams."""

import asyncio

import pytest

from forebay.queues.contract import (
    Inspector,
    Producer,
    Queue,
)
from forebay.queues.errors import QueueError, UnknownStream
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.integration.queue_contract.parts import (
    PARTITIONS,
    STREAM,
    by_key,
    read_all,
    record,
)


async def test_what_is_missing_is_made_and_then_is_not_missing(settings: QueueSettings) -> None:
    queue = open_queue(settings)

    missing = await queue.missing(["a", "b"], PARTITIONS)
    made = await queue.ensure(["a", "b"], PARTITIONS)

    assert any("stream a" in sentence for sentence in missing)
    assert made == missing
    assert await queue.missing(["a", "b"], PARTITIONS) == []
    assert await queue.ensure(["a", "b"], PARTITIONS) == []
    await queue.close()


async def test_a_stream_is_made_beside_others(queue: Queue, producer: Producer, inspector: Inspector) -> None:
    await producer.send(STREAM, record("portal", 1))

    [made] = await queue.ensure([STREAM, "another"], PARTITIONS)

    assert "another" in made
    assert by_key(await read_all(inspector)) == {"portal": [1]}


async def test_many_may_make_the_same_streams_at_once(settings: QueueSettings) -> None:
    queues = [open_queue(settings) for _ in range(8)]

    await asyncio.gather(*(queue.ensure(["a", "b"], PARTITIONS) for queue in queues))

    assert await queues[0].missing(["a", "b"], PARTITIONS) == []
    for queue in queues:
        await queue.close()


async def test_another_number_of_partitions_is_refused(queue: Queue, inspector: Inspector) -> None:
    with pytest.raises(QueueError, match=r"events.*4 partitions"):
        await queue.ensure(["another", STREAM], PARTITIONS + 1)
    with pytest.raises(QueueError, match=r"events.*4 partitions"):
        await queue.missing([STREAM], PARTITIONS + 1)

    assert len(await inspector.bounds(STREAM)) == PARTITIONS
    with pytest.raises(UnknownStream):
        await inspector.bounds("another")
