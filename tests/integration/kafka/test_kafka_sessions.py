"""How soon a KIP-848 group misses a dead member: what the brokers are asked to keep for it."""

import asyncio

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    AdminClient,
    ConfigResource,
    ResourceType,
)
from structlog.testing import capture_logs

from forebay.queues.contract import Queue
from tests.kafka.fixtures import Kafka
from tests.kafka.members import Owner

pytestmark = pytest.mark.kafka

#: What the tests' brokers say where nobody asks, and the least that they take.
BROKERS_BEAT_MS, LEAST_BEAT_MS = 300, 200


async def beat_with(kafka: Kafka, group: str, session_s: float) -> int:
    """The milliseconds between two beats that the brokers keep for the group, as soon as they keep this session."""
    with AdminClient({"bootstrap.servers": kafka.bootstrap}) as client:
        async with asyncio.timeout(30):
            while True:
                [asked] = client.describe_configs([ConfigResource(ResourceType.GROUP, group)]).values()
                found = await asyncio.wrap_future(asked)
                if int(found["consumer.session.timeout.ms"].value) == session_s * 1000:
                    return int(found["consumer.heartbeat.interval.ms"].value)


@pytest.mark.parametrize(("session_s", "beat_ms"), [(4.0, 400), (10.0, 1000), (30.0, 1000)])
async def test_members_beat_ten_times_a_session_and_at_least_every_second(
    kafka: Kafka, queue: Queue, stream: str, session_s: float, beat_ms: int
) -> None:
    consumer = queue.consumer(stream, stream, session_s=session_s)

    await consumer.start(Owner())

    assert await beat_with(kafka, stream, session_s) == beat_ms
    await consumer.close()


async def test_where_the_brokers_refuse_so_many_beats_the_session_is_kept_nevertheless(
    kafka: Kafka, queue: Queue, stream: str
) -> None:
    session_s = 1.5
    assert session_s * 1000 / 10 < LEAST_BEAT_MS
    consumer = queue.consumer(stream, stream, session_s=session_s)

    with capture_logs() as logs:
        await consumer.start(Owner())

    assert await beat_with(kafka, stream, session_s) == BROKERS_BEAT_MS
    assert [one["log_level"] for one in logs] == ["info"], logs
    await consumer.close()
