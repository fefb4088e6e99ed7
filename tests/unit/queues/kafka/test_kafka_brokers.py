"""How many brokers a cluster has, of which some may be away or not there yet."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]  # it is public, but in no __all__

from forebay.queues.kafka.admin import Admin
from forebay.queues.kafka.clients import Clients
from tests.unit.queues.kafka.test_kafka_asking import ONE_BROKER, Client, Made


class Cluster(Client):
    """So many brokers are there, told to keep so many copies of Kafka's own topics. None: we may not see that."""

    def __init__(self, there: int, copies: int | None) -> None:
        super().__init__(ONE_BROKER)
        self._there, self._copies = there, copies

    def describe_cluster(self, **_: object) -> Future[Any]:
        return said(SimpleNamespace(nodes=[SimpleNamespace(id=number) for number in range(self._there)]))

    def describe_configs(self, asked: list[ConfigResource], **_: object) -> dict[ConfigResource, Future[Any]]:
        refused = KafkaException(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED))
        settings = {"offsets.topic.replication.factor": SimpleNamespace(value=str(self._copies))}
        return {asked[0]: said(settings if self._copies is not None else refused)}


def said(answer: object) -> Future[Any]:
    future: Future[Any] = Future()
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
    return future


@pytest.mark.parametrize(("there", "copies", "has"), [(2, 3, 3), (1, 1, 1), (5, 3, 5), (2, None, 2), (0, 3, 0)])
async def test_a_cluster_has_as_many_brokers_as_are_there_or_are_to_keep_its_own_topics(
    there: int, copies: int | None, has: int
) -> None:
    admin = Admin(cast(Clients, Made(Cluster(there, copies))))

    assert await admin.brokers() == has
    await admin.close()
