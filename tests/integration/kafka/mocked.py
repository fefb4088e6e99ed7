"""A Kafka queue on the mock cluster, which lacks the few questions that are stood in for here."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, TopicPartition

from forebay.queues.kafka.admin import Admin, Topic
from forebay.schemas import names
from tests.kafka.members import PARTITIONS
from tests.kafka.mock_cluster import MockCluster, mock_cluster

STREAM = "events"


async def _topics(self: Admin, names: Collection[str], answer_s: float = 10.0) -> dict[str, Topic | None]:
    return {name: Topic(id="mock", partitions=tuple(range(PARTITIONS)), leaderless=()) for name in names}


async def _keeps_sessions(self: Admin, group: str) -> bool:
    """It can do KIP-848."""
    return True


async def _set_of_group(self: Admin, group: str, properties: Mapping[str, int]) -> None:
    """The mock's sessions are as long as they are."""


@contextmanager
def mocked(monkeypatch: pytest.MonkeyPatch, brokers: int = 1) -> Iterator[MockCluster]:
    """A mock of so many brokers, with the streams of the topic."""
    monkeypatch.setattr(Admin, "topics", _topics)
    monkeypatch.setattr(Admin, "keeps_sessions", _keeps_sessions)
    monkeypatch.setattr(Admin, "set_of_group", _set_of_group)
    with mock_cluster(brokers) as made:
        for stream in names.streams(STREAM):
            made.make(stream, PARTITIONS)
        yield made


def kept(cluster: MockCluster) -> dict[str, list[int]]:
    """The numbers that stand in the stream, by key, in the order of the log."""
    quick = {"enable.partition.eof": True, "fetch.wait.max.ms": 10}
    client = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "reader", **quick})
    client.assign([TopicPartition(STREAM, number, 0) for number in range(PARTITIONS)])
    found: dict[str, list[int]] = defaultdict(list)
    ends = 0
    while ends < PARTITIONS:
        message = client.poll(10)
        assert message is not None
        if message.error():
            ends += 1
        else:
            found[(message.key() or b"").decode()].append(int(message.value() or b""))
    client.close()
    return found
