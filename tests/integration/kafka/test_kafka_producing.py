"""What only Kafka can do to a producer: refuse, hang, go away, and know users."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    AdminClient,
    NewPartitions,
    NewTopic,
    ResourceType,
)
from structlog.testing import capture_logs

from forebay.queues.contract import Producer, Queue, Record
from forebay.queues.errors import QueueError, QueueUnavailable, UnknownStream
from forebay.queues.kafka import properties
from forebay.queues.kafka.topics import AnotherNumber
from forebay.schemas.portal import partition_of
from tests.integration.kafka.mocked import STREAM
from tests.integration.kafka.sent import altered, record, settings_of, values
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import Kafka
from tests.kafka.members import PARTITIONS
from tests.kafka.mock_cluster import MockCluster
from tests.kafka.opener import Opener
from tests.kafka.relay import relayed
from tests.ports import free_ports

pytestmark = pytest.mark.kafka

CAROL = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "carol"}


async def check_fails(producer: Producer, match: str) -> str:
    """What the check says."""
    with pytest.raises(QueueUnavailable, match=match) as failed:
        await producer.check()
    return str(failed.value)


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


async def test_nothing_is_placed_by_a_topic_s_own_number_where_no_broker_answers_at_the_start(
    kafka: Kafka, queue: Queue, opened: Opener, stream: str
) -> None:
    # Where an administrator has added some to one topic, and the ingest starts while Kafka is away.
    await queue.ensure([other := f"{stream}-other"], PARTITIONS)
    with AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0}) as admin:
        admin.create_partitions([NewPartitions(stream, 3 * PARTITIONS)])[stream].result(30)
    while len(await queue.inspector().bounds(stream)) == PARTITIONS:
        pass
    portals = [Record(key=f"portal-{number}.bitrix24.example", value=b"", timestamp_ms=1) for number in range(20)]
    async with relayed(int(kafka.bootstrap.rpartition(":")[2])) as (relay, port):
        relay.swallow = 1_000_000
        started = opened(f"127.0.0.1:{port}")
        producer = started.producer()

        # What was in the spool is tried at once.
        asking = asyncio.create_task(started.ensure([stream, other], PARTITIONS))
        trying = [asyncio.create_task(producer.send(stream, one)) for one in portals]
        with pytest.raises(QueueUnavailable):
            await asking
        relay.swallow = 0
        tried = await asyncio.gather(*trying, return_exceptions=True)
        await started.ensure([stream, other], PARTITIONS)
        places = await asyncio.gather(*(producer.send(stream, one) for one in portals))
        await producer.close()

    assert {type(one) for one in tried} == {QueueUnavailable}
    assert [at.partition for at in places] == [partition_of(one.key, PARTITIONS) for one in portals]


async def delete(admin: AdminClient, stream: str, producer: Producer) -> None:
    """Return when the producer has heard of it."""
    admin.delete_topics([stream])[stream].result(30)
    with pytest.raises(UnknownStream):
        while True:
            await producer.send(stream, record())


@pytest.mark.parametrize("number", [1, PARTITIONS - 1, 3 * PARTITIONS])
async def test_a_stream_that_was_made_anew_takes_nothing_before_it_has_as_many_partitions_as_it_had(
    kafka: Kafka, queue: Queue, stream: str, number: int
) -> None:
    producer = queue.producer()
    portals = [f"portal-{number}.bitrix24.example" for number in range(20)]
    await producer.send(stream, record())
    with AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0}) as admin:
        await delete(admin, stream, producer)
        admin.create_topics([NewTopic(stream, number)])[stream].result(30)

        text = rf"made anew, topic {stream} has {number} .* set partitions to {number}, and start again"
        with pytest.raises(QueueUnavailable, match=text):
            while True:
                await is_taken(producer, stream)
        ends = {bounds.end for bounds in (await queue.inspector().bounds(stream)).values()}
        admin.delete_topics([stream])[stream].result(30)
    while not await is_missing(queue, stream):
        pass
    await queue.ensure([stream], PARTITIONS)
    # The client learns of it by and by, and may know fewer partitions until one is missed.
    for one in portals:
        while not await is_taken(producer, stream, one):
            pass
    sent = [producer.send(stream, Record(key=one, value=b"", timestamp_ms=1_700_000_000_000)) for one in portals]
    places = await asyncio.gather(*sent)

    assert ends == {0}
    assert [at.partition for at in places] == [partition_of(one, PARTITIONS) for one in portals]
    await producer.close()


async def test_a_stream_that_was_missed_for_a_while_is_sent_to_again_without_a_restart(
    kafka: Kafka, queue: Queue, stream: str
) -> None:
    producer = queue.producer()
    await producer.send(stream, record())
    with AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0}) as admin:
        await delete(admin, stream, producer)
        admin.create_topics([NewTopic(stream, PARTITIONS)])[stream].result(30)

    while not await is_taken(producer, stream):
        pass
    await producer.close()


async def is_missing(queue: Queue, stream: str) -> bool:
    """Whether the broker has heard that it was deleted; till then it is there as it was."""
    try:
        return await queue.missing([stream], PARTITIONS) != []
    except AnotherNumber:
        return False


async def is_taken(producer: Producer, stream: str, portal: str = "p.example") -> bool:
    """What fails fails at once: the loop turns, so that it may be looked for."""
    await asyncio.sleep(0.001)
    try:
        await producer.send(stream, Record(key=portal, value=b"", timestamp_ms=1_700_000_000_000))
    except UnknownStream:
        return False
    return True


async def test_letters_are_kept_for_ever_whatever_a_cluster_keeps_by_default(
    clusters: Callable[..., Cluster], opened: Opener
) -> None:
    cluster = clusters()
    await altered(cluster, ResourceType.BROKER, "1", "log.retention.bytes", 1_000_000)
    await altered(cluster, ResourceType.BROKER, "1", "log.retention.ms", 3_600_000)

    await opened(cluster.bootstrap, topic="events").ensure(["events", "events.dead"], PARTITIONS)

    found = await settings_of(cluster, ResourceType.TOPIC, "events.dead")
    assert (found["retention.bytes"].value, found["retention.ms"].value) == ("-1", "-1")


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
    await asyncio.wait(sent[1:])

    assert not sent[0].done()
    assert all(isinstance(one.exception(), QueueUnavailable) for one in sent[1:])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(producer.close(), 0.1)


async def test_where_the_client_itself_has_no_room_it_is_the_same(opened: Opener, mock: MockCluster) -> None:
    producer = opened(mock.bootstrap, kafka={"queue.buffering.max.kbytes": 2}).producer()
    await producer.send(STREAM, record(0))
    mock.slow(1, 3_600_000)

    sent = [asyncio.create_task(producer.send(STREAM, record(0, b"x" * size))) for size in (1500, 1500, 10)]
    await asyncio.wait(sent[1:])

    assert not sent[0].done()
    assert all(isinstance(one.exception(), QueueUnavailable) for one in sent[1:])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(producer.close(), 0.1)


async def test_where_no_number_of_records_is_too_much_none_is(opened: Opener, mock: MockCluster) -> None:
    producer = opened(mock.bootstrap, kafka={"queue.buffering.max.messages": 0}).producer()

    await asyncio.gather(*(producer.send(STREAM, record(number)) for number in range(3)))

    await producer.close()


async def test_a_property_that_librdkafka_does_not_know_is_named(opened: Opener) -> None:
    with pytest.raises(QueueError, match=r"kafka: linger\.msec"):
        opened("127.0.0.1:9092", kafka={"linger.msec": 5}).producer()


async def values_unless_unavailable(queue: Queue, stream: str) -> list[bytes] | None:
    try:
        return await values(queue, stream)
    except QueueUnavailable:
        return None


async def test_on_three_brokers_a_record_outlives_one(clusters: Callable[..., Cluster], opened: Opener) -> None:
    cluster = clusters(nodes=3)
    queue = opened(cluster.bootstrap)
    [made] = await queue.ensure(["events"], PARTITIONS)
    producer = queue.producer()
    await producer.send("events", record(1))

    await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
    await producer.send("events", record(2))

    # Until it is known who leads in place of the one that is gone, whoever reads is told so.
    while (kept := await values_unless_unavailable(queue, "events")) is None:
        pass
    assert "3 copies" in made
    assert kept == [b"1", b"2"]
    await producer.close()
