"""A Kafka whose administrators hold our clients to a quota: no call fails, everything is just late."""

from collections.abc import Iterator
from contextlib import contextmanager
from os import urandom
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from forebay.queues.contract import Queue, Record
from forebay.queues.findings import Needs
from tests.kafka.fixtures import Kafka
from tests.kafka.members import PARTITIONS, joined
from tests.kafka.opener import Opener
from tests.waiting import until

pytestmark = pytest.mark.kafka

_TOLD = "the brokers hold us back by a quota"


@pytest.fixture
def client() -> str:
    """The name of our clients."""
    return f"forebay-{uuid4().hex[:12]}"


@contextmanager
def held_to(kafka: Kafka, client: str, quota: str) -> Iterator[None]:
    """Clients of that name may have so many bytes a second."""
    clients = ("--bootstrap-server", kafka.bootstrap, "--alter", "--entity-type", "clients", "--entity-name", client)
    tool = kafka.ours().nodes[0].tool
    tool("org.apache.kafka.tools.ConfigCommand", *clients, "--add-config", f"{quota}=1000")
    yield
    tool("org.apache.kafka.tools.ConfigCommand", *clients, "--delete-config", quota)


async def fill(queue: Queue, stream: str) -> None:
    """Send what no compression makes small."""
    producer = queue.producer()
    for number in range(20):
        await producer.send(stream, Record(key=f"portal-{number}", value=urandom(1000), timestamp_ms=number))
    await producer.close()


async def diagnosed(queue: Queue, stream: str) -> list[str]:
    """What doctor finds of the brokers."""
    needs = Needs(streams={stream: frozenset(("read",))}, events=stream, partitions=PARTITIONS)
    found = [one async for one in queue.diagnose(needs)]
    return [f"{one.detail} -> {one.remedy}" for one in found if (one.check, one.state) == ("brokers", "warn")]


async def test_who_reads_and_doctor_say_that_brokers_hold_reading_back(
    kafka: Kafka, opened: Opener, queue: Queue, stream: str, client: str
) -> None:
    await fill(queue, stream)

    with held_to(kafka, client, "consumer_byte_rate"), capture_logs() as logs:
        consumer = await joined(opened(kafka.bootstrap, kafka={"client.id": client}), stream)
        await until(lambda: [log for log in logs if log["event"] == _TOLD])
        found = await diagnosed(opened(kafka.bootstrap, kafka={"client.id": client}), stream)
        await consumer.close()

    assert "consumer_byte_rate" in next(log["remedy"] for log in logs if log["event"] == _TOLD)
    [told] = [one for one in found if "by a quota" in one]
    assert "raise consumer_byte_rate (workers)" in told
    assert not [one for one in await diagnosed(opened(kafka.bootstrap), stream) if "by a quota" in one]


async def test_who_writes_says_that_brokers_hold_writing_back(
    kafka: Kafka, opened: Opener, stream: str, client: str
) -> None:
    with held_to(kafka, client, "producer_byte_rate"), capture_logs() as logs:
        await fill(opened(kafka.bootstrap, kafka={"client.id": client}), stream)
        await until(lambda: [log for log in logs if log["event"] == _TOLD])

    assert "producer_byte_rate" in next(log["remedy"] for log in logs if log["event"] == _TOLD)
