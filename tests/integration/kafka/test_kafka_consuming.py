"""What only Kafka can do to a consumer: other clients' records and commits, lost offsets, old brokers."""

import asyncio
import signal
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

import pytest
from confluent_kafka import Consumer as Client
from confluent_kafka import Producer as ClientProducer
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from forebay.queues.contract import Commit, Consumer, Queue, StoredRecord
from forebay.queues.errors import Fenced, QueueError
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import Kafka
from tests.kafka.members import PARTITIONS, PATIENCE_S, Owner, fetch, joined, send
from tests.kafka.mock_cluster import Api, produce_as_others
from tests.kafka.opener import Opener

pytestmark = pytest.mark.kafka

#: After so many calls of a method Python calls it by a shorter way, which takes what it is given.
MANY = 100


def delete_before(kafka: Kafka, stream: str, partition: int, offset: int) -> None:
    """What retention does."""
    with AdminClient({"bootstrap.servers": kafka.bootstrap}) as client:
        [deleted] = client.delete_records([TopicPartition(stream, partition, offset)]).values()
        deleted.result(10)


def commit_as_somebody_else(kafka: Kafka, at: TopicPartition, group: str) -> None:
    client = Client({"bootstrap.servers": kafka.bootstrap, "group.id": group})
    client.commit(offsets=[at], asynchronous=False)
    client.close()


def commit_as_java_does(kafka: Kafka, stream: str, group: str, metadata: dict[int, bytes]) -> None:
    """Offset 1 of each partition, with its metadata as they are: librdkafka would end them with a zero."""

    def text(value: bytes) -> bytes:
        return struct.pack(">h", len(value)) + value

    partitions = b"".join(struct.pack(">iq", number, 1) + text(value) for number, value in metadata.items())
    head = struct.pack(">hhi", Api.OFFSET_COMMIT, 2, 0) + text(b"java")
    whole = head + text(group.encode()) + struct.pack(">ihqi", -1, 0, -1, 1)
    whole += text(stream.encode()) + struct.pack(">i", len(metadata)) + partitions
    with AdminClient({"bootstrap.servers": kafka.bootstrap}) as client:
        # Of several brokers no other one takes commits of the group.
        asked = client.describe_consumer_groups([group])[group].result(10).coordinator
    with socket.create_connection((asked.host, asked.port), PATIENCE_S) as connection:
        connection.sendall(struct.pack(">i", len(whole)) + whole)
        [length] = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))
        answer = connection.recv(length, socket.MSG_WAITALL)
    assert answer.endswith(b"".join(struct.pack(">ih", number, 0) for number in metadata)), answer


async def test_a_partition_never_committed_begins_where_retention_left_it(
    kafka: Kafka, queue: Queue, stream: str
) -> None:
    partition = await send(queue, stream, range(5))
    delete_before(kafka, stream, partition, 3)

    consumer = await joined(queue, stream, owner := Owner())

    assert owner.owned[partition] == Commit(offset=3)
    # It may have had them before, and lost its place; where nothing is, nothing comes again.
    assert [number for number, commit in owner.owned.items() if commit.is_reset] == [partition]
    assert await fetch(consumer, 2) == [3, 4]
    await consumer.close()


async def test_a_place_that_retention_took_stops_the_reading_with_a_remedy(
    kafka: Kafka, queue: Queue, stream: str
) -> None:
    partition = await send(queue, stream, range(5))
    commit_as_somebody_else(kafka, TopicPartition(stream, partition, 1), stream)
    delete_before(kafka, stream, partition, 3)
    consumer = await joined(queue, stream)

    for _ in range(2):
        with pytest.raises(QueueError, match=f"partition {partition} of {stream}.*--reset-offsets"):
            while True:
                await consumer.fetch(10, PATIENCE_S)

    await consumer.close()


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
async def test_nothing_is_committed_to_a_topic_that_was_made_anew(
    kafka: Kafka, opened: Opener, stream: str, protocol: str
) -> None:
    queue = opened(kafka.bootstrap, kafka={"group.protocol": protocol})
    partition = await send(queue, stream, range(2))
    consumer = await joined(queue, stream)
    await fetch(consumer, 2)

    kafka.delete(stream)
    await queue.ensure([stream], PARTITIONS)
    await send(queue, stream, range(2, 6))

    # Fenced where the group has let the partition go already: that stores nothing either.
    with pytest.raises((QueueError, Fenced), match=r"made anew while group|belong to another member"):
        await consumer.commit({partition: Commit(offset=2)})
    await consumer.close()
    again = await joined(queue, stream, owner := Owner())
    assert owner.owned[partition] == Commit(offset=0)
    assert await fetch(again, 4) == [2, 3, 4, 5]
    await again.close()


async def test_the_metadata_of_other_clients_is_no_note(kafka: Kafka, queue: Queue, stream: str) -> None:
    partition = await send(queue, stream, range(2))
    for number, metadata in enumerate(("checkpoint by somebody", "fb1:not base64")):
        commit_as_somebody_else(kafka, TopicPartition(stream, partition, number, metadata), stream)

        consumer = await joined(queue, stream, owner := Owner())

        assert owner.owned[partition] == Commit(offset=number)
        await consumer.close()


async def test_metadata_that_librdkafka_reads_beyond_their_end_cost_no_start(
    kafka: Kafka, queue: Queue, stream: str
) -> None:
    wide, partitions = f"{stream}-wide", 50
    await queue.ensure([wide], partitions)
    # The coordinator of the group is there from the first commit on.
    commit_as_somebody_else(kafka, TopicPartition(wide, 0, 0), wide)
    commit_as_java_does(kafka, wide, wide, {number: b"A" * (8 + number) for number in range(partitions)})

    consumer = await joined(queue, wide, owner := Owner(), partitions)
    inspector = queue.inspector()
    states = (await inspector.groups(wide))[wide]

    assert owner.owned == {number: Commit(offset=1) for number in range(partitions)}
    assert {(one.offset, one.note) for one in states.values()} == {(1, b"")}
    await consumer.close()
    await inspector.close()


async def test_records_of_other_clients_are_read(kafka: Kafka, queue: Queue, stream: str) -> None:
    client = ClientProducer({"bootstrap.servers": kafka.bootstrap})
    client.produce(stream, None, None, headers=[("nothing", None), ("text", "a")])
    client.produce(stream, b"value", b"\xff\xfe")
    client.flush()
    consumer = await joined(queue, stream)

    found: list[StoredRecord] = []
    while len(found) < 2:
        found += await consumer.fetch(10, PATIENCE_S)

    assert {(one.key, one.value, tuple(one.headers)) for one in found} == {
        ("", b"", (("nothing", b""), ("text", b"a"))),
        ("\\xff\\xfe", b"value", ()),
    }
    await consumer.close()


async def test_a_header_whose_name_is_no_text_costs_a_record_its_headers_and_no_process(
    kafka: Kafka, queue: Queue, stream: str
) -> None:
    client = ClientProducer({"bootstrap.servers": kafka.bootstrap})
    for _ in range(MANY):
        produce_as_others(client, stream, 0, b"usual", header="имя".encode())
    produce_as_others(client, stream, 0, b"strange", header=b"\xff\xfe")
    consumer = await joined(queue, stream)

    found: list[StoredRecord] = []
    while len(found) <= MANY:
        found += await consumer.fetch(10, PATIENCE_S)
    with capture_logs() as logs:
        # Again and again, as for a letter that is written a second time: who touches what the client gives the second
        # time ends the process.
        told = [[dict(one.headers) for one in found] for _ in range(3)]

    assert told == [[{"имя": b"1"}] * MANY + [{}]] * 3
    assert [one.value for one in found] == [b"usual"] * MANY + [b"strange"]
    assert [(log["partition"], log["offset"]) for log in logs] == [(0, MANY)]
    await consumer.close()


async def test_transactions_leave_gaps_that_nobody_waits_in(kafka: Kafka, queue: Queue, stream: str) -> None:
    client = ClientProducer({"bootstrap.servers": kafka.bootstrap, "transactional.id": stream})
    client.init_transactions(10)
    for number in range(3):
        client.begin_transaction()
        client.produce(stream, b"%d" % number, b"portal", partition=1)
        client.commit_transaction(10)
    inspector, consumer = queue.inspector(), await joined(queue, stream)

    bounds = (await inspector.bounds(stream))[1]
    read = await inspector.read(stream, 1, 0, 10)
    beyond = await inspector.read(stream, 1, read[-1].offset + 1, 10)

    assert await fetch(consumer, 3) == [int(one.value) for one in read] == [0, 1, 2]
    assert bounds.end == 6
    assert beyond == []
    await consumer.close()
    await inspector.close()


async def test_a_broker_that_is_killed_and_back_changes_nothing(kafka: Kafka, queue: Queue, stream: str) -> None:
    cluster, owner = kafka.ours(), Owner()
    partition = await send(queue, stream, range(3))
    consumer = await joined(queue, stream, owner)
    before = await fetch(consumer, 3)
    # On a busy machine the session may end meanwhile, and the partition then begins at the commit.
    await consumer.commit({partition: Commit(offset=3)})

    await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
    cluster.nodes[0].start()
    await asyncio.to_thread(cluster.wait_ready)
    await send(queue, stream, range(3, 6))
    after: list[int] = []
    while not {3, 4, 5} <= set(after):
        # One call at a time: what came before an error is here, and does not come again.
        with suppress(QueueError):
            after += [int(one.value) for one in await consumer.fetch(3, PATIENCE_S)]
    await committed_at_last(consumer, {partition: Commit(offset=6)})

    assert before + list(dict.fromkeys(after)) == [0, 1, 2, 3, 4, 5]
    assert len(after) == 3 or "lost" in owner.told
    await consumer.close()


async def committed_at_last(consumer: Consumer, commits: dict[int, Commit]) -> None:
    """Commit as often as it takes while the coordinator comes back."""
    while True:
        try:
            return await consumer.commit(commits)
        except QueueError:
            await asyncio.sleep(0)


async def test_a_broker_without_kip_848_is_used_in_the_classic_way(
    clusters: Callable[..., Cluster], opened: Opener
) -> None:
    queue = opened(clusters(features=["group.version=0"]).bootstrap)
    await queue.ensure(["events"], PARTITIONS)
    partition = await send(queue, "events", range(3))

    consumer = await joined(queue, "events")

    assert await fetch(consumer, 3) == [0, 1, 2]
    await consumer.commit({partition: Commit(offset=3)})
    await consumer.close()
