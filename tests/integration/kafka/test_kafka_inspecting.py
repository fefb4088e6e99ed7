"""What only Kafka can do to an inspector: brokers that go while it asks, and leaders that change."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient

from forebay.queues.contract import Bounds, Commit, GroupState, Inspector, Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.kafka import clients
from tests.integration.kafka.mocked import STREAM
from tests.kafka.fixtures import Kafka
from tests.kafka.members import joined, send
from tests.kafka.mock_cluster import Api, MockCluster
from tests.kafka.opener import Opener

pytestmark = pytest.mark.kafka


async def ask(inspector: Inspector, stream: str) -> None:
    """Ask again and again, whether there is an answer or not."""
    while True:
        try:
            await inspector.groups(stream)
            await inspector.bounds(stream)
        except QueueUnavailable:
            continue


async def test_questions_go_on_while_a_broker_is_restarted(kafka: Kafka, queue: Queue, stream: str) -> None:
    cluster, inspector = kafka.ours(), queue.inspector()
    partition = await send(queue, stream, range(3))
    consumer = await joined(queue, stream)
    await consumer.commit({partition: Commit(offset=2, note=b"here")})
    await consumer.close()
    asking = [asyncio.create_task(ask(inspector, stream)) for _ in range(3)]

    for how in (signal.SIGTERM, signal.SIGKILL):
        await asyncio.to_thread(cluster.nodes[0].stop, how)
        cluster.nodes[0].start()
        await asyncio.to_thread(cluster.wait_ready)
    for one in asking:
        one.cancel()

    states = await answered(inspector, stream)
    assert states[partition].offset == 2
    assert states[partition].note == b"here"
    assert (await inspector.bounds(stream))[partition].end == 3
    await inspector.close()


async def test_what_is_read_right_after_its_beginning_was_deleted_is_the_rest(
    kafka: Kafka, queue: Queue, stream: str
) -> None:
    inspector = queue.inspector()
    partition = await send(queue, stream, range(10))
    before = await inspector.read(stream, partition, 0, 3)
    with AdminClient({"bootstrap.servers": kafka.bootstrap}) as client:
        [deleted] = client.delete_records([TopicPartition(stream, partition, 7)]).values()
        await asyncio.to_thread(deleted.result, 30)
    after = await inspector.read(stream, partition, 0, 100)
    await send(queue, stream, range(10, 12))
    last = await inspector.read(stream, partition, after[-1].offset + 1, 100)
    await inspector.close()

    assert [[record.offset for record in some] for some in (before, after, last)] == [[0, 1, 2], [7, 8, 9], [10, 11]]


async def answered(inspector: Inspector, group: str) -> dict[int, GroupState]:
    """The group's states, once its coordinator has read its log again; until then it knows of no group."""
    while True:
        try:
            return (await inspector.groups(group))[group]
        except (QueueUnavailable, KeyError):
            await asyncio.sleep(0)


async def test_an_answer_waits_for_no_client_that_never_ends(
    queue: Queue, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where a group's coordinator goes just then: librdkafka waits for a thread that runs on.
    never = Event()

    class Endless(AdminClient):
        def __exit__(self, *why: Any) -> Any:
            never.wait()
            return super().__exit__(*why)

    monkeypatch.setattr(clients, "AdminClient", Endless)
    partition = await send(queue, stream, range(3))
    consumer, inspector = await joined(queue, stream), queue.inspector()
    try:
        async with asyncio.timeout(30):
            await consumer.commit({partition: Commit(offset=2, note=b"")})
            assert (await answered(inspector, stream))[partition].offset == 2
    finally:
        never.set()
    await consumer.close()
    await inspector.close()


def test_a_process_whose_clients_never_close_ends_all_the_same(kafka: Kafka, stream: str) -> None:
    script = Path(__file__).with_name("end_beside_endless.py")

    # The member's goodbye is waited for three seconds, and each of the others one.
    ended = subprocess.run(
        [sys.executable, str(script), kafka.bootstrap, stream], capture_output=True, text=True, timeout=60, check=False
    )

    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "closed"), ended.stderr


@pytest.mark.parametrize("code", [KafkaError.OFFSET_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION])
async def test_a_leader_that_was_just_elected_is_asked_again(mock: MockCluster, opened: Opener, code: int) -> None:
    queue = opened(mock.bootstrap)
    number = await send(queue, STREAM, range(3))
    inspector = queue.inspector()
    await inspector.bounds(STREAM)

    mock.fail(Api.LIST_OFFSETS, code, code)
    bounds = await inspector.bounds(STREAM, [number])

    assert bounds == {number: Bounds(start=0, end=3)}
    await inspector.close()
