"""What only Kafka can do to a producer: refuse, hang, go away, and know users."""

import asyncio
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from os import urandom
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)
from structlog.testing import capture_logs

from forebay.queues.contract import Producer, Queue, Record
from forebay.queues.errors import QueueError, QueueUnavailable, RecordRefused, UnknownStream
from forebay.queues.kafka import producer as kafka_producer
from forebay.queues.kafka import properties
from forebay.queues.kafka.producer import KafkaProducer
from forebay.schemas.portal import partition_of
from tests.integration.kafka.mocked import STREAM
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import Kafka
from tests.kafka.members import PARTITIONS
from tests.kafka.mock_cluster import MockCluster
from tests.kafka.opener import Opener
from tests.ports import free_ports

pytestmark = pytest.mark.kafka

CAROL = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "carol"}


def record(number: int = 0, value: bytes = b"") -> Record:
    return Record(key="portal", value=value or str(number).encode(), timestamp_ms=1_700_000_000_000 + number)


async def check_fails(producer: Producer, match: str) -> str:
    """What the check says."""
    with pytest.raises(QueueUnavailable, match=match) as failed:
        await producer.check()
    return str(failed.value)


async def values(queue: Queue, stream: str) -> list[bytes]:
    inspector = queue.inspector()
    found = []
    for partition, bounds in (await inspector.bounds(stream)).items():
        found += [one.value for one in await inspector.read(stream, partition, bounds.start, 1000)]
    await inspector.close()
    return found


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


async def test_partitions_that_an_administrator_adds_move_no_portal(kafka: Kafka, queue: Queue, stream: str) -> None:
    producer: Any = queue.producer()
    portals = [f"portal-{number}.bitrix24.example" for number in range(20)]
    await producer.send(stream, record())
    with AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0}) as admin:
        admin.create_partitions([NewPartitions(stream, 3 * PARTITIONS)])[stream].result(30)
    # As it learns it by itself, within minutes.
    while len(producer._client.own.list_topics(stream, 10).topics[stream].partitions) == PARTITIONS:
        pass

    sent = [producer.send(stream, Record(key=one, value=b"", timestamp_ms=1_700_000_000_000)) for one in portals]
    places = await asyncio.gather(*sent)

    assert [at.partition for at in places] == [partition_of(one, PARTITIONS) for one in portals]
    await producer.close()


async def test_nothing_is_placed_by_another_number_of_partitions_than_the_settings_say(
    kafka: Kafka, queue: Queue, opened: Opener, stream: str
) -> None:
    # Where an administrator has added some to every topic, and the ingest is started again.
    with AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0}) as admin:
        admin.create_partitions([NewPartitions(stream, 3 * PARTITIONS)])[stream].result(30)
    while len(await queue.inspector().bounds(stream)) == PARTITIONS:
        pass
    started = opened(kafka.bootstrap)
    producer, inspector = started.producer(), started.inspector()

    # What was in the spool is tried at once, and what comes later when its number is known.
    asking = asyncio.create_task(started.ensure([stream], PARTITIONS))
    await asyncio.sleep(0)
    trying = asyncio.create_task(producer.send(stream, record()))
    with pytest.raises(QueueError, match=f"set partitions to {3 * PARTITIONS}"):
        await asking
    for one in (trying, producer.send(stream, record())):
        with pytest.raises(QueueUnavailable, match=f"set partitions to {3 * PARTITIONS}"):
            await one
    ends = {bounds.end for bounds in (await inspector.bounds(stream)).values()}
    await started.ensure([stream], 3 * PARTITIONS)
    place = await producer.send(stream, record())

    assert ends == {0}
    assert place.partition == partition_of(record().key, 3 * PARTITIONS)
    await producer.close()
    await inspector.close()


async def test_a_stream_that_was_made_anew_has_the_partitions_that_it_has_now(
    kafka: Kafka, queue: Queue, stream: str
) -> None:
    producer = queue.producer()
    await producer.send(stream, record())
    with AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0}) as admin:
        admin.delete_topics([stream])[stream].result(30)
        with pytest.raises(UnknownStream):
            while True:
                await producer.send(stream, record())
        admin.create_topics([NewTopic(stream, 1)])[stream].result(30)

    kept = None
    while kept is None:
        with suppress(UnknownStream):
            kept = await producer.send(stream, record())

    assert kept.partition == 0
    await producer.close()


async def test_letters_are_kept_for_ever_whatever_a_cluster_keeps_by_default(
    clusters: Callable[..., Cluster], opened: Opener
) -> None:
    cluster = clusters()
    await altered(cluster, ResourceType.BROKER, "1", "log.retention.bytes", 1_000_000)
    await altered(cluster, ResourceType.BROKER, "1", "log.retention.ms", 3_600_000)

    await opened(cluster.bootstrap, topic="events").ensure(["events", "events.dead"], PARTITIONS)

    found = await settings_of(cluster, ResourceType.TOPIC, "events.dead")
    assert (found["retention.bytes"].value, found["retention.ms"].value) == ("-1", "-1")


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
    await altered(kafka, ResourceType.TOPIC, stream, "message.timestamp.before.max.ms", 3_600_000)
    queue = opened(kafka.bootstrap, kafka={"batch.num.messages": 3, "linger.ms": 20})
    producer = queue.producer()
    now_ms = round(time.time() * 1000)
    young = [Record(key="portal", value=b"%02d" % number, timestamp_ms=now_ms) for number in range(30)]

    sent = [producer.send(stream, one) for one in (record(99), *young)]
    told = await asyncio.gather(*sent, return_exceptions=True)

    assert [number for number, one in enumerate(told) if isinstance(one, BaseException)] == [0]
    assert await values(queue, stream) == [one.value for one in young]
    await producer.close()


async def test_small_records_that_came_together_are_kept_in_their_order_where_the_topic_takes_no_batch_of_them(
    kafka: Kafka, opened: Opener, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_producer, "_WARY", 4)
    await altered(kafka, ResourceType.TOPIC, stream, "max.message.bytes", 2000)
    queue = opened(kafka.bootstrap, kafka={"linger.ms": 100})
    producer = queue.producer()
    assert isinstance(producer, KafkaProducer)
    sent = [b"%02d" % number + urandom(1000 if number != 7 else 3000) for number in range(20)]

    told = await asyncio.gather(
        *(producer.send(stream, record(number, value)) for number, value in enumerate(sent)), return_exceptions=True
    )
    one_by_one = producer._client.sends_singly
    async with asyncio.timeout(60):
        while producer._client.sends_singly:
            await asyncio.sleep(0.01)
    await producer.send(stream, record(20, b"20"))

    assert one_by_one
    assert [isinstance(one, RecordRefused) for one in told] == [number == 7 for number in range(20)]
    assert await values(queue, stream) == [*sent[:7], *sent[8:], b"20"]
    await producer.close()


async def altered(of: Kafka | Cluster, kind: ResourceType, name: str, setting: str, value: object) -> None:
    """Set what the brokers keep; it holds when this returns."""
    entry = ConfigEntry(setting, str(value), incremental_operation=AlterConfigOpType.SET)
    with AdminClient({"bootstrap.servers": of.bootstrap, "log_level": 0}) as admin:
        [done] = admin.incremental_alter_configs([ConfigResource(kind, name, incremental_configs=[entry])]).values()
        await asyncio.wrap_future(done)
    while (await settings_of(of, kind, name))[setting].value != str(value):
        pass


async def settings_of(of: Kafka | Cluster, kind: ResourceType, name: str) -> dict[str, ConfigEntry]:
    with AdminClient({"bootstrap.servers": of.bootstrap, "log_level": 0}) as admin:
        [asked] = admin.describe_configs([ConfigResource(kind, name)]).values()
        found: dict[str, ConfigEntry] = await asyncio.wrap_future(asked)
        return found


async def test_a_body_of_a_megabyte_is_kept(kafka: Kafka, opened: Opener, stream: str) -> None:
    queue = opened(kafka.bootstrap)
    producer = queue.producer()
    noise = b"".join(uuid4().bytes for _ in range(2**20 // 16))

    await producer.send(stream, record(1, noise))

    assert await values(queue, stream) == [noise]
    await producer.close()


async def test_a_user_without_rights_is_told_which_ones_it_needs(kafka: Kafka, opened: Opener, stream: str) -> None:
    bootstrap = kafka.ours().sasl_bootstrap
    producer = opened(bootstrap, kafka={**CAROL, "sasl.password": "carol-pw"}).producer()

    with pytest.raises(QueueUnavailable, match="kafka-acls"):
        await producer.send(stream, record())

    await producer.close()


async def test_a_wrong_password_is_told_without_telling_it(kafka: Kafka, opened: Opener) -> None:
    bootstrap = kafka.ours().sasl_bootstrap
    producer = opened(bootstrap, kafka={**CAROL, "sasl.password": "not-carols"}).producer()

    said = await check_fails(producer, r"sasl\.password")

    assert "not-carols" not in said
    await producer.close()


@pytest.mark.parametrize("protocol", ["ssl", "plaintext"])
async def test_a_protocol_that_does_not_fit_the_port_is_told(kafka: Kafka, opened: Opener, protocol: str) -> None:
    cluster = kafka.ours()
    bootstrap = cluster.bootstrap if protocol == "ssl" else cluster.sasl_bootstrap
    producer = opened(bootstrap, kafka={"security.protocol": protocol}).producer()

    await check_fails(producer, r"security\.protocol")

    await producer.close()


async def test_an_address_where_nobody_answers_is_told(opened: Opener) -> None:
    [port] = free_ports(1)
    producer = opened(f"127.0.0.1:{port}").producer()

    await check_fails(producer, "queue_url")

    await producer.close()


async def test_a_broker_that_hangs_fails_the_check_until_it_is_back(kafka: Kafka, opened: Opener) -> None:
    [node] = kafka.ours().nodes
    producer = opened(kafka.bootstrap).producer()
    await passes_in_the_end(producer)

    node.signal(signal.SIGSTOP)
    try:
        # A process with many threads takes a moment to stand still.
        while await passes(producer):
            pass
        await check_fails(producer, "Kafka")
    finally:
        node.signal(signal.SIGCONT)

    await passes_in_the_end(producer)
    await producer.close()


async def passes_in_the_end(producer: Producer) -> None:
    """A busy broker may take longer than a check waits."""
    while not await passes(producer):
        pass


async def passes(producer: Producer) -> bool:
    try:
        await producer.check()
    except QueueUnavailable:
        return False
    return True


async def test_a_record_sent_while_the_broker_is_down_is_kept_once_it_is_back(
    kafka: Kafka, opened: Opener, stream: str
) -> None:
    cluster, queue = kafka.ours(), opened(kafka.bootstrap)
    producer = queue.producer()
    await producer.send(stream, record(1))

    await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
    sending = asyncio.create_task(producer.send(stream, record(2)))
    await check_fails(producer, "Kafka")
    cluster.nodes[0].start()
    await asyncio.to_thread(cluster.wait_ready)
    await sending

    assert await values(queue, stream) == [b"1", b"2"]
    await producer.close()


async def test_why_records_wait_is_told_while_they_do(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.queues.kafka.producer._SILENCES", 2)
    monkeypatch.setitem(properties._PRODUCER, "statistics.interval.ms", 50)
    [port] = free_ports(1)
    producer = opened(f"127.0.0.1:{port}").producer()

    with capture_logs() as logs:
        sending = asyncio.create_task(producer.send("events", record()))
        while not logs:
            await asyncio.sleep(0.01)

    assert logs[0]["event"] == "records wait for Kafka"
    assert "queue_url" in logs[0]["reason"]
    assert not sending.done()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(producer.close(), 0.1)
    with pytest.raises(QueueUnavailable):
        await sending
    with pytest.raises(QueueUnavailable, match="closed"):
        await producer.send("events", record())


async def test_closing_can_be_cut_short_while_the_brokers_are_gone(opened: Opener) -> None:
    [port] = free_ports(1)
    producer = opened(f"127.0.0.1:{port}").producer()
    sending = asyncio.create_task(producer.send("events", record()))
    await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(producer.close(), 0.1)

    with pytest.raises(QueueUnavailable):
        await sending


async def test_too_much_that_waits_is_told(opened: Opener) -> None:
    [port] = free_ports(1)
    producer = opened(f"127.0.0.1:{port}", kafka={"queue.buffering.max.messages": 2}).producer()
    waiting = [asyncio.create_task(producer.send("events", record(number))) for number in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(QueueUnavailable, match="too much waits"):
        await producer.send("events", record())

    for one in waiting:
        one.cancel()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(producer.close(), 0.1)


async def test_behind_a_record_that_finds_no_room_a_smaller_one_of_its_portal_finds_none_either(
    opened: Opener,
) -> None:
    # Nobody answers, so that all waits for the first record of its partition.
    [port] = free_ports(1)
    producer = opened(f"127.0.0.1:{port}", kafka={"queue.buffering.max.kbytes": 2}).producer()

    sent = [asyncio.create_task(producer.send("events", record(0, b"x" * size))) for size in (1500, 1500, 10)]
    _, pending = await asyncio.wait(sent, timeout=0.1)

    assert pending == {sent[0]}
    assert all(isinstance(one.exception(), QueueUnavailable) for one in sent[1:])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(producer.close(), 0.1)


async def test_where_the_client_itself_has_no_room_it_is_the_same(opened: Opener, mock: MockCluster) -> None:
    producer = opened(mock.bootstrap, kafka={"queue.buffering.max.kbytes": 2}).producer()
    await producer.send(STREAM, record(0))
    mock.slow(1, 3_600_000)

    sent = [asyncio.create_task(producer.send(STREAM, record(0, b"x" * size))) for size in (1500, 1500, 10)]
    _, pending = await asyncio.wait(sent, timeout=0.1)

    assert pending == {sent[0]}
    assert all(isinstance(one.exception(), QueueUnavailable) for one in sent[1:])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(producer.close(), 0.1)


async def test_a_property_that_librdkafka_does_not_know_is_named(opened: Opener) -> None:
    with pytest.raises(QueueError, match=r"kafka: linger\.msec"):
        opened("127.0.0.1:9092", kafka={"linger.msec": 5}).producer()


async def test_on_three_brokers_a_record_outlives_one(clusters: Callable[..., Cluster], opened: Opener) -> None:
    cluster = clusters(nodes=3)
    queue = opened(cluster.bootstrap)
    [made] = await queue.ensure(["events"], PARTITIONS)
    producer = queue.producer()
    await producer.send("events", record(1))

    await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
    await producer.send("events", record(2))

    assert "3 copies" in made
    assert await values(queue, "events") == [b"1", b"2"]
    await producer.close()
