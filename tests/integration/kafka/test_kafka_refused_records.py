"""What the brokers refuse, and what they refuse beside it, by the limits of a topic."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from os import urandom
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import ResourceType  # type: ignore[attr-defined]  # it is public, but in no __all__

from forebay.queues.contract import Producer, Queue, Record
from forebay.queues.errors import RecordRefused, UnknownStream
from forebay.queues.kafka import openings
from forebay.queues.kafka.producer import KafkaProducer
from tests.integration.kafka.sent import altered, record, values
from tests.kafka.cluster import Cluster, Node
from tests.kafka.fixtures import Kafka
from tests.kafka.members import PARTITIONS
from tests.kafka.opener import Opener

pytestmark = pytest.mark.kafka

SMALL_BATCHES = {"batch.num.messages": 3, "linger.ms": 20}


class Forgetful(Node):
    """Looks all the time whom it may forget, and not every ten minutes."""

    def properties(self, values: Mapping[str, object]) -> str:
        return super().properties(values) + "producer.id.expiration.check.interval.ms=100\n"

    def remembers_a_producer(self, topic: str) -> bool:
        asked = ("--bootstrap-server", f"{self.host}:{self.port}", "describe-producers", "--topic", topic)
        found = self.tool("org.apache.kafka.tools.TransactionsCommand", *asked, "--partition", "0")
        return len(found.splitlines()) > 1


async def test_a_record_that_is_too_large_is_refused_and_its_neighbours_are_kept(
    kafka: Kafka, opened: Opener, stream: str
) -> None:
    queue = opened(kafka.bootstrap)
    producer = queue.producer()
    noise = b"".join(uuid4().bytes for _ in range(200_000))
    sent = [producer.send(stream, one) for one in (record(1), record(2, noise), record(3))]

    first, second, third = await asyncio.gather(*sent, return_exceptions=True)

    assert isinstance(second, RecordRefused)
    assert "max.message.bytes" in str(second)
    assert not isinstance(first, BaseException)
    assert not isinstance(third, BaseException)
    assert await values(queue, stream) == [b"1", b"3"]
    await producer.close()


async def test_small_records_that_come_together_are_kept_where_the_topic_takes_little_at_a_time(
    kafka: Kafka, opened: Opener, queue: Queue, stream: str
) -> None:
    await altered(kafka, ResourceType.TOPIC, stream, "max.message.bytes", 65_536)
    producer = opened(kafka.bootstrap).producer()
    noise = [b"%d" % number + random.Random(number).randbytes(2000) for number in range(300)]

    await asyncio.gather(*(producer.send(stream, record(value=one)) for one in noise))

    assert await values(queue, stream) == noise
    await producer.close()


async def test_what_has_waited_for_long_is_taken_where_brokers_take_nothing_old_by_default(
    clusters: Callable[..., Cluster], opened: Opener
) -> None:
    cluster = clusters()
    await altered(cluster, ResourceType.BROKER, "1", "log.message.timestamp.before.max.ms", 60_000)
    queue = opened(cluster.bootstrap)
    await queue.ensure(["events"], PARTITIONS)
    producer = queue.producer()

    await producer.send("events", record(1))

    assert await values(queue, "events") == [b"1"]
    await producer.close()


async def test_what_an_administrator_finds_too_old_is_refused_with_the_remedy_and_its_neighbours_are_kept(
    kafka: Kafka, opened: Opener, stream: str
) -> None:
    await altered(kafka, ResourceType.TOPIC, stream, "message.timestamp.before.max.ms", 3_600_000)
    queue = opened(kafka.bootstrap)
    producer = queue.producer()
    now_ms = round(time.time() * 1000)
    young = [Record(key="portal", value=value, timestamp_ms=now_ms) for value in (b"1", b"3")]

    sent = [producer.send(stream, one) for one in (young[0], record(2), young[1])]
    first, second, third = await asyncio.gather(*sent, return_exceptions=True)

    assert isinstance(second, RecordRefused)
    assert "message.timestamp.before.max.ms" in str(second)
    assert not isinstance(first, BaseException)
    assert not isinstance(third, BaseException)
    assert await values(queue, stream) == [b"1", b"3"]
    await producer.close()


async def test_what_is_under_way_behind_the_first_record_of_a_client_stays_behind_it_when_that_is_refused(
    kafka: Kafka, opened: Opener, stream: str
) -> None:
    queue = opened(kafka.bootstrap, kafka=SMALL_BATCHES)

    await keeps_all_but_the_first(kafka, queue, queue.producer(), stream)


async def test_what_is_under_way_stays_in_its_order_also_where_the_brokers_have_forgotten_the_client(
    clusters: Callable[..., Cluster], opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openings, "_REMEMBERED_S", 1.0)
    cluster = clusters([broker := Forgetful(1, tmp_path / "node-1")])
    queue = opened(cluster.bootstrap, kafka=SMALL_BATCHES)
    await queue.ensure(["events"], 1)
    producer = queue.producer()
    # Older than a day, as from a spool.
    await producer.send("events", record(0))
    while broker.remembers_a_producer("events"):
        pass

    await keeps_all_but_the_first(cluster, queue, producer, "events", before=[b"0"])


async def test_what_is_under_way_stays_in_its_order_also_where_the_topic_was_made_anew(
    kafka: Kafka, opened: Opener, stream: str
) -> None:
    queue = opened(kafka.bootstrap, kafka=SMALL_BATCHES)
    await queue.ensure([stream], PARTITIONS)
    producer = queue.producer()
    await producer.send(stream, record(0))
    kafka.delete(stream)
    with pytest.raises(UnknownStream):
        await producer.send(stream, record(1))
    # By another process.
    await opened(kafka.bootstrap).ensure([stream], PARTITIONS)
    await producer.check()

    await keeps_all_but_the_first(kafka, queue, producer, stream)


async def keeps_all_but_the_first(
    of: Kafka | Cluster, queue: Queue, producer: Producer, stream: str, before: Sequence[bytes] = ()
) -> None:
    """Send much at once, of which the first record is too old."""
    await altered(of, ResourceType.TOPIC, stream, "message.timestamp.before.max.ms", 3_600_000)
    now_ms = round(time.time() * 1000)
    young = [Record(key="portal", value=b"%02d" % number, timestamp_ms=now_ms) for number in range(30)]

    sent = [producer.send(stream, one) for one in (record(99), *young)]
    told = await asyncio.gather(*sent, return_exceptions=True)

    assert [number for number, one in enumerate(told) if isinstance(one, BaseException)] == [0]
    assert await values(queue, stream) == [*before, *(one.value for one in young)]
    await producer.close()


async def test_small_records_that_came_together_are_kept_in_their_order_where_the_topic_takes_no_batch_of_them(
    kafka: Kafka, opened: Opener, stream: str
) -> None:
    await altered(kafka, ResourceType.TOPIC, stream, "max.message.bytes", 2000)
    queue = opened(kafka.bootstrap, kafka={"linger.ms": 100})
    producer = queue.producer()
    assert isinstance(producer, KafkaProducer)
    sent = [b"%02d" % number + urandom(1000 if number != 7 else 3000) for number in range(20)]

    told = await asyncio.gather(
        *(producer.send(stream, record(number, value)) for number, value in enumerate(sent)), return_exceptions=True
    )
    one_by_one = producer._client.sends_singly
    # Of the statistics for which it stays so, one is left.
    producer._succession._wary = 1
    async with asyncio.timeout(60):
        while producer._client.sends_singly:
            await asyncio.sleep(0.01)
    await producer.send(stream, record(20, b"20"))

    assert one_by_one
    assert [isinstance(one, RecordRefused) for one in told] == [number == 7 for number in range(20)]
    assert await values(queue, stream) == [*sent[:7], *sent[8:], b"20"]
    await producer.close()
