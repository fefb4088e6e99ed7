"""What becomes of reading when Kafka answers with an error: nothing is left out, and what does not pass is told."""

import asyncio

import pytest
from confluent_kafka import KafkaError

from forebay.queues.contract import Commit, Consumer, Queue
from forebay.queues.errors import QueueError, QueueUnavailable
from tests.integration.kafka.mocked import STREAM
from tests.kafka.members import PATIENCE_S, Owner, fetch, joined, send
from tests.kafka.mock_cluster import Api, MockCluster
from tests.kafka.opener import Opener

#: After these the client asks again, perhaps another broker, and nobody hears of it.
PASSING = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.UNKNOWN,
)

#: So often the client has looked what became of the topic.
SEVERAL = 5


@pytest.fixture
def mocked_queue(mock: MockCluster, opened: Opener) -> Queue:
    # By the classic one the mock takes three seconds to put a group together.
    return opened(mock.bootstrap, kafka={"group.protocol": "consumer"})


async def test_after_errors_that_pass_reading_goes_on_where_it_was(mock: MockCluster, mocked_queue: Queue) -> None:
    await send(mocked_queue, STREAM, range(3))
    consumer = await joined(mocked_queue, STREAM)
    assert await fetch(consumer, 3) == [0, 1, 2]

    mock.fail(Api.FETCH, *PASSING)
    await send(mocked_queue, STREAM, range(3, 6))

    assert await fetched(consumer, 3) == [3, 4, 5]
    await consumer.close()


async def test_a_right_that_is_taken_away_is_told_and_reading_goes_on_where_it_was_once_it_is_back(
    mock: MockCluster, mocked_queue: Queue
) -> None:
    await send(mocked_queue, STREAM, range(3))
    consumer = await joined(mocked_queue, STREAM)
    await fetch(consumer, 3)
    mock.fail(Api.FETCH, *[KafkaError.TOPIC_AUTHORIZATION_FAILED] * 1000)

    with pytest.raises(QueueUnavailable, match="kafka-acls"):
        while True:
            await consumer.fetch(10, PATIENCE_S)
    mock.relent(Api.FETCH)
    await send(mocked_queue, STREAM, range(3, 6))

    assert await fetched(consumer, 3) == [3, 4, 5]
    await consumer.close()


async def test_a_place_that_a_broker_does_not_have_is_no_reason_to_go_on_elsewhere(
    mock: MockCluster, mocked_queue: Queue
) -> None:
    await send(mocked_queue, STREAM, range(3))
    consumer = await joined(mocked_queue, STREAM)
    await fetch(consumer, 3)
    mock.fail(Api.FETCH, KafkaError.OFFSET_OUT_OF_RANGE)
    await send(mocked_queue, STREAM, range(3, 6))

    for _ in range(2):
        with pytest.raises(QueueError, match=f"of {STREAM}.*--reset-offsets"):
            while True:
                await consumer.fetch(10, PATIENCE_S)

    await consumer.close()


@pytest.mark.parametrize("code", [KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART])
async def test_metadata_that_miss_the_topic_for_a_while_cost_no_record(
    mock: MockCluster, opened: Opener, code: int
) -> None:
    # Often, or the client would not notice within the test.
    often = {"group.protocol": "consumer", "topic.metadata.refresh.interval.ms": 100}
    queue = opened(mock.bootstrap, kafka=often)
    await send(queue, STREAM, range(3))
    consumer = await joined(queue, STREAM)
    await fetch(consumer, 3)

    mock.deny(STREAM, code)
    waiting = asyncio.create_task(fetched(consumer, 3))
    mock.count_requests()
    async with asyncio.timeout(60):
        while mock.asked(Api.METADATA) < SEVERAL:
            await asyncio.sleep(0.01)
    mock.deny(STREAM, KafkaError.NO_ERROR)
    await send(queue, STREAM, range(3, 6))

    assert await waiting == [3, 4, 5]
    await consumer.close()


@pytest.mark.parametrize(
    "code", [KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR, KafkaError.UNSTABLE_OFFSET_COMMIT]
)
async def test_a_member_begins_where_its_group_is_though_that_can_not_be_told_at_first(
    mock: MockCluster, mocked_queue: Queue, code: int
) -> None:
    partition = await send(mocked_queue, STREAM, range(4))
    former = await joined(mocked_queue, STREAM)
    await fetch(former, 4)
    await former.commit({partition: Commit(offset=2)})
    await former.close()

    mock.fail(Api.OFFSET_FETCH, *[code] * 3)
    consumer = await joined(mocked_queue, STREAM, owner := Owner())

    assert owner.owned[partition].offset == 2
    assert await fetched(consumer, 2) == [2, 3]
    await consumer.close()


async def fetched(consumer: Consumer, count: int) -> list[int]:
    """So many numbers; whoever reads asks again after what passes."""
    found: list[int] = []
    while len(found) < count:
        try:
            found += [int(one.value) for one in await consumer.fetch(count - len(found), PATIENCE_S)]
        except QueueUnavailable:
            continue
    return found
