"""A member that the group does not let in, as its coordinator is away."""

import asyncio

import pytest
from confluent_kafka import KafkaError

from forebay.queues.errors import QueueUnavailable
from forebay.queues.kafka import consumer as kafka_consumer
from forebay.queues.kafka import member
from tests.integration.kafka.mocked import STREAM
from tests.kafka.members import PARTITIONS, SESSION_S, Owner, fetch, send
from tests.kafka.mock_cluster import Api, MockCluster
from tests.kafka.opener import Opener


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
async def test_who_finds_no_coordinator_is_not_taken_for_well_and_joins_when_there_is_one(
    mock: MockCluster, opened: Opener, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    for module in (kafka_consumer, member):
        monkeypatch.setattr(module, "JOINING_S", 1.0)
    queue = opened(mock.bootstrap, kafka={"group.protocol": protocol})
    await send(queue, STREAM, [1])
    mock.fail(Api.FIND_COORDINATOR, *[KafkaError.COORDINATOR_NOT_AVAILABLE] * 100_000)
    consumer = queue.consumer(STREAM, STREAM, session_s=SESSION_S)
    await consumer.start(owner := Owner())

    for _ in range(3):
        # For as long as it lasts.
        with pytest.raises(QueueUnavailable, match=r"has not let us in.*forebay doctor"):
            await consumer.fetch(1, 0.5)
    assert not owner.owned
    mock.relent(Api.FIND_COORDINATOR)

    await owner.owns(PARTITIONS)
    assert await fetch(consumer, 1) == [1]
    await consumer.close()


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
async def test_who_is_let_in_and_gets_no_partition_is_well(
    mock: MockCluster, opened: Opener, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.setattr(member, "JOINING_S", 5.0)
    queue = opened(mock.bootstrap, kafka={"group.protocol": protocol})
    consumers = [queue.consumer(STREAM, STREAM, session_s=SESSION_S) for _ in range(PARTITIONS + 1)]
    await asyncio.gather(*(one.start(Owner()) for one in consumers))

    for _ in range(6):
        assert not any(await asyncio.gather(*(one.fetch(1, 1.0) for one in consumers)))
    await asyncio.gather(*(one.close() for one in consumers))
