"""What becomes of records when Kafka answers with an error, and when the client that sent them is finished."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from confluent_kafka import KafkaError

from forebay.queues.contract import Position, Producer, Queue, Record
from forebay.queues.errors import QueueUnavailable, RecordRefused, UnknownStream
from forebay.queues.kafka.wall_clock import WallClock
from tests.integration.kafka.mocked import STREAM, kept
from tests.kafka.mock_cluster import Api, MockCluster, break_for_good
from tests.kafka.opener import Opener

PORTALS = ("a", "b", "c")
SLOW_MS = 200
GATHER_MS = 300

#: After these the same record may be taken.
PASSING = (
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_PRODUCER_ID,
)


def record(number: int, portal: str = "a") -> Record:
    return Record(key=portal, value=b"%d" % number, timestamp_ms=1_700_000_000_000 + number)


def sending(producer: Producer, numbers: Sequence[int]) -> list["asyncio.Task[Position]"]:
    """Calls of `send`, each number once for every portal."""
    return [
        asyncio.create_task(producer.send(STREAM, record(number, portal))) for number in numbers for portal in PORTALS
    ]


async def handed_over() -> None:
    """Return when the client has what was sent: it gets that in the loop's next turn."""
    for _ in range(3):
        await asyncio.sleep(0)


def first_copies(mock: MockCluster) -> dict[str, list[int]]:
    """What is kept, without what came again."""
    return {portal: list(dict.fromkeys(found)) for portal, found in kept(mock).items()}


def all_of(count: int) -> dict[str, list[int]]:
    return {portal: list(range(count)) for portal in PORTALS}


@pytest.fixture
async def producer(mock: MockCluster, opened: Opener) -> Any:
    async with producing(opened(mock.bootstrap)) as made:
        yield made


@pytest.fixture
async def gathering_producer(mock: MockCluster, opened: Opener) -> Any:
    """Sends what comes at once in one request a partition, for answers with an error.

    Of what is on its way behind the refused request a broker takes nothing, since numbers are missing in between, but
    in a partition that is empty. The mock, which counts for transactions only, takes it.
    """
    # However late the mock is: nothing goes on its way behind a request that it has not answered.
    gathering = {"linger.ms": GATHER_MS, "max.in.flight": 1}
    async with producing(opened(mock.bootstrap, kafka=gathering)) as made:
        yield made


@asynccontextmanager
async def producing(queue: Queue) -> AsyncIterator[Producer]:
    made = queue.producer()
    await made.check()
    await asyncio.gather(*sending(made, [0]))
    yield made
    await made.close()


async def test_a_fatal_error_costs_no_record_and_no_order(mock: MockCluster, producer: Any) -> None:
    mock.slow(1, SLOW_MS)
    under_way = sending(producer, range(1, 10))
    await handed_over()

    break_for_good(producer._client.own, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)
    afterwards = sending(producer, range(10, 20))
    await asyncio.gather(*under_way, *afterwards)
    mock.slow(1, 0)
    await asyncio.gather(*sending(producer, [20]))

    assert first_copies(mock) == all_of(21)


@pytest.mark.parametrize(("back_s", "is_followed"), [(7200, True), (1, False)])
async def test_a_clock_that_is_set_back_far_lets_another_client_follow_at_no_cost(
    mock: MockCluster, producer: Any, back_s: int, is_followed: bool
) -> None:
    wall = [0.0]
    producer._succession._wall_clock = WallClock(wall=lambda: wall[0], steady=lambda: 0.0)
    client = producer._client.own
    mock.slow(1, SLOW_MS)
    under_way = sending(producer, range(1, 10))
    await handed_over()

    wall[0] -= back_s
    await asyncio.gather(*under_way, *sending(producer, range(10, 20)))
    mock.slow(1, 0)
    await asyncio.gather(*sending(producer, [20]))

    assert (producer._client.own is not client) == is_followed
    assert first_copies(mock) == all_of(21)


async def test_a_fatal_error_while_nothing_is_sent_is_none_for_the_next_record(
    mock: MockCluster, producer: Any
) -> None:
    break_for_good(producer._client.own, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)

    await asyncio.gather(*sending(producer, [1]))

    assert kept(mock) == all_of(2)


async def test_one_fatal_error_after_the_other_is_outlived(mock: MockCluster, producer: Any) -> None:
    for _ in range(2):
        break_for_good(producer._client.own, KafkaError.UNKNOWN_PRODUCER_ID)
        await asyncio.gather(*sending(producer, range(1, 5)))

    assert first_copies(mock) == all_of(5)


async def test_an_answer_that_ends_the_client_ends_no_record(mock: MockCluster, gathering_producer: Any) -> None:
    mock.fail(Api.PRODUCE, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)

    await asyncio.gather(*sending(gathering_producer, range(1, 10)))

    assert first_copies(mock) == all_of(10)


@pytest.mark.parametrize("code", [KafkaError.UNKNOWN, KafkaError.THROTTLING_QUOTA_EXCEEDED])
async def test_what_waits_behind_a_record_that_is_not_taken_is_not_kept_before_it(
    mock: MockCluster, gathering_producer: Any, code: int
) -> None:
    mock.slow(1, SLOW_MS)
    mock.count_requests()
    mock.fail(Api.PRODUCE, *[code] * len(PORTALS))
    first = sending(gathering_producer, [1])
    while not mock.asked(Api.PRODUCE):
        await asyncio.sleep(0.001)

    await asyncio.gather(*first, *sending(gathering_producer, range(2, 5)))

    assert kept(mock) == all_of(5)


async def test_a_record_that_is_told_as_kept_without_its_place_is_sent_again(mock: MockCluster, producer: Any) -> None:
    mock.slow(1, SLOW_MS)
    mock.count_requests()
    mock.fail(Api.PRODUCE, KafkaError.NOT_LEADER_FOR_PARTITION)
    under_way = [asyncio.create_task(producer.send(STREAM, record(1)))]
    while not mock.asked(Api.PRODUCE):
        await asyncio.sleep(0.001)

    # A partition that is empty takes it without the one before; librdkafka then tells that both are kept.
    under_way.append(asyncio.create_task(producer.send(STREAM, record(2))))
    await asyncio.gather(*under_way)

    assert sorted(kept(mock)["a"]) == [0, 1, 2]


async def test_closing_waits_for_the_records_of_a_client_that_is_finished(mock: MockCluster, opened: Opener) -> None:
    producer: Any = opened(mock.bootstrap).producer()
    await asyncio.gather(*sending(producer, [0]))
    under_way = sending(producer, [1])
    await handed_over()
    break_for_good(producer._client.own, KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER)

    await producer.close()

    assert all(one.done() and not one.exception() for one in under_way)


async def test_a_producer_that_may_not_write_says_so_and_goes_on_once_it_may(mock: MockCluster, opened: Opener) -> None:
    mock.fail(Api.INIT_PRODUCER_ID, *[KafkaError.CLUSTER_AUTHORIZATION_FAILED] * 1000)
    producer = opened(mock.bootstrap).producer()

    with pytest.raises(QueueUnavailable, match="it Write"):
        await producer.send(STREAM, record(1))
    mock.relent(Api.INIT_PRODUCER_ID)
    # Its next client begins a second later, and may be ready just after a check has given up.
    with suppress(QueueUnavailable):
        await producer.check()
    await producer.check()
    await producer.send(STREAM, record(2))

    assert kept(mock) == {"a": [2]}
    await producer.close()


async def test_the_check_tells_why_the_client_of_a_producer_is_finished(mock: MockCluster, opened: Opener) -> None:
    mock.fail(Api.INIT_PRODUCER_ID, *[KafkaError.CLUSTER_AUTHORIZATION_FAILED] * 1000)
    producer = opened(mock.bootstrap).producer()

    with pytest.raises(QueueUnavailable, match="it Write"):
        await producer.check()

    await producer.close()


async def test_what_passes_is_waited_for(mock: MockCluster, gathering_producer: Any) -> None:
    mock.fail(Api.PRODUCE, *PASSING)

    await asyncio.gather(*sending(gathering_producer, range(1, 4)))

    assert first_copies(mock) == all_of(4)


@pytest.mark.parametrize("code", [KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD])
async def test_what_is_refused_is_told_and_its_followers_are_kept(mock: MockCluster, producer: Any, code: int) -> None:
    mock.fail(Api.PRODUCE, code)

    with pytest.raises(RecordRefused):
        await producer.send(STREAM, record(1))
    await producer.send(STREAM, record(2))

    assert kept(mock)["a"] == [0, 2]


async def test_a_right_that_is_taken_away_is_told_and_missed_no_longer_than_it_is_missing(
    mock: MockCluster, producer: Any
) -> None:
    mock.fail(Api.PRODUCE, KafkaError.TOPIC_AUTHORIZATION_FAILED)

    with pytest.raises(QueueUnavailable, match="kafka-acls"):
        await producer.send(STREAM, record(1))
    while not await is_kept(producer, record(2)):
        pass

    assert kept(mock)["a"] == [0, 2]


async def is_kept(producer: Producer, one: Record) -> bool:
    try:
        await producer.send(STREAM, one)
    except QueueUnavailable:
        return False
    return True


async def test_brokers_that_make_any_topic_that_is_asked_for_make_none_for_a_record(
    mock: MockCluster, producer: Any
) -> None:
    # As Kafka's own do by default: with another number of partitions than the stream has, and one copy of each.
    for _ in range(2):
        with pytest.raises(UnknownStream, match="topics ensure"):
            await producer.send("deleted", record(1))


async def test_records_wait_for_a_broker_that_is_away(mock: MockCluster, producer: Any) -> None:
    mock.down(1)
    waiting = sending(producer, range(1, 4))
    await handed_over()
    assert not any(one.done() for one in waiting)

    mock.up(1)
    await asyncio.gather(*waiting)

    assert first_copies(mock) == all_of(4)
