"""What becomes of commits when Kafka answers with an error: through the consumer, and through a whole worker."""

import asyncio

import pytest
from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, TopicPartition

from forebay.queues.contract import Commit, Queue, Record
from forebay.queues.errors import Fenced, QueueUnavailable
from tests.integration.kafka.mocked import STREAM
from tests.integration.kafka.working import Site, encoded
from tests.kafka.members import PARTITIONS, Owner, fetch, joined, send
from tests.kafka.mock_cluster import Api, MockCluster
from tests.kafka.opener import Opener
from tests.waiting import until

#: The client, or we, ask again after these, and nobody hears of it.
PASSING = (
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.REQUEST_TIMED_OUT,
)

#: The group goes on without this member.
FENCING = (
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.FENCED_MEMBER_EPOCH,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.FENCED_INSTANCE_ID,
)


@pytest.fixture
def mocked_queue(mock: MockCluster, opened: Opener) -> Queue:
    # By the classic one the mock takes three seconds to put a group together.
    return opened(mock.bootstrap, kafka={"group.protocol": "consumer"})


def stored(mock: MockCluster, partition: int) -> int:
    """Where the group is; negative when it has stored nothing."""
    client = Client({"bootstrap.servers": mock.bootstrap, "group.id": STREAM})
    [at] = client.committed([TopicPartition(STREAM, partition)], timeout=10)
    client.close()
    return at.offset


@pytest.mark.parametrize("code", PASSING)
async def test_what_passes_is_asked_again_until_the_commit_is_stored(
    mock: MockCluster, mocked_queue: Queue, code: int
) -> None:
    partition = await send(mocked_queue, STREAM, range(3))
    consumer = await joined(mocked_queue, STREAM)
    await fetch(consumer, 3)
    mock.fail(Api.OFFSET_COMMIT, code)

    await consumer.commit({partition: Commit(offset=2)})

    assert stored(mock, partition) == 2
    await consumer.close()


@pytest.mark.parametrize("code", [KafkaError.OFFSET_METADATA_TOO_LARGE, KafkaError.INVALID_COMMIT_OFFSET_SIZE])
async def test_what_is_refused_is_told_and_the_next_commit_is_stored(
    mock: MockCluster, mocked_queue: Queue, code: int
) -> None:
    partition = await send(mocked_queue, STREAM, range(3))
    consumer = await joined(mocked_queue, STREAM)
    await fetch(consumer, 3)
    mock.fail(Api.OFFSET_COMMIT, code)

    with pytest.raises(QueueUnavailable, match="not stored"):
        await consumer.commit({partition: Commit(offset=2)})
    before = stored(mock, partition)
    await consumer.commit({partition: Commit(offset=3)})

    assert (before < 0, stored(mock, partition)) == (True, 3)
    await consumer.close()


@pytest.mark.parametrize("code", FENCING)
async def test_a_member_that_the_group_does_not_know_is_fenced_and_stores_nothing(
    mock: MockCluster, mocked_queue: Queue, code: int
) -> None:
    partition = await send(mocked_queue, STREAM, range(3))
    consumer = await joined(mocked_queue, STREAM)
    await fetch(consumer, 3)
    mock.fail(Api.OFFSET_COMMIT, code)

    with pytest.raises(Fenced) as fenced:
        await consumer.commit({partition: Commit(offset=2)})

    assert (set(fenced.value.partitions), stored(mock, partition) < 0) == ({partition}, True)
    await consumer.close()


async def test_by_the_classic_protocol_too_what_passes_is_asked_again_and_a_fenced_member_stores_nothing(
    mock: MockCluster, opened: Opener
) -> None:
    queue = opened(mock.bootstrap, kafka={"group.protocol": "classic"})
    partition = await send(queue, STREAM, range(3))
    # Longer than the mock takes to put a group together, and than librdkafka may take to come back to a coordinator
    # that has denied to be one: a commit that it tries again every 250 ms is in the way of its connecting.
    consumer = queue.consumer(STREAM, STREAM, session_s=60)
    await consumer.start(owner := Owner())
    await owner.owns(PARTITIONS)
    await fetch(consumer, 3)
    mock.fail(Api.OFFSET_COMMIT, KafkaError.NOT_COORDINATOR, KafkaError.REQUEST_TIMED_OUT)
    await consumer.commit({partition: Commit(offset=1)})
    assert stored(mock, partition) == 1

    mock.fail(Api.OFFSET_COMMIT, KafkaError.UNKNOWN_MEMBER_ID)
    with pytest.raises(Fenced):
        await consumer.commit({partition: Commit(offset=2)})

    assert stored(mock, partition) == 1
    await consumer.close()


async def test_a_worker_whose_commits_are_refused_is_degraded_and_commits_no_more_than_is_finished_once_it_may(
    mock: MockCluster, mocked_queue: Queue
) -> None:
    site = Site(mocked_queue, STREAM, PARTITIONS)
    begun, may_end = {1: asyncio.Event(), 2: asyncio.Event()}, {1: asyncio.Event(), 2: asyncio.Event()}

    async def handle(number: int) -> None:
        begun[number].set()
        await may_end[number].wait()

    site.handle = handle  # type: ignore[method-assign]  # what the test's handler does
    producer = mocked_queue.producer()
    for number in (1, 2):
        at = await producer.send(STREAM, Record(key="p", value=encoded(number), timestamp_ms=1_700_000_000_000))
    await producer.close()

    async with site.working() as worker:
        await begun[1].wait()
        mock.fail(Api.OFFSET_COMMIT, *[KafkaError.OFFSET_METADATA_TOO_LARGE] * 20)
        may_end[1].set()
        await begun[2].wait()
        await until(lambda: state(worker.health.report()) == "degraded")
        assert stored(mock, at.partition) == 0
        await until(lambda: state(worker.health.report()) == "ok")
        assert stored(mock, at.partition) == 1
        may_end[2].set()
        await until(lambda: stored(mock, at.partition) == 2)


def state(report: dict[str, object]) -> str:
    """That of the commits."""
    parts = report["parts"]
    assert isinstance(parts, dict)
    return str(parts.get("commits", {}).get("state"))
