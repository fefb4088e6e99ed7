"""By which protocol a group is joined: what the brokers can do, unless the settings insist."""

from concurrent.futures import Future
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]  # it is public, but in no __all__

from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.kafka.admin import Admin
from forebay.queues.kafka.clients import Clients
from forebay.queues.kafka.protocol import agreed_protocol
from tests.unit.queues.kafka.test_kafka_asking import ONE_BROKER, Client, Made

#: What older brokers, or librdkafka for them, may say of a group's settings. (Kafka's say the first one.)
TOO_OLD = (
    KafkaError.INVALID_REQUEST,
    KafkaError.UNSUPPORTED_VERSION,
    KafkaError._UNSUPPORTED_FEATURE,
    KafkaError.INVALID_CONFIG,
    KafkaError.UNKNOWN,
)


class Cluster(Client):
    """Says this of a group's settings; None: it keeps them."""

    def __init__(self, code: int | None) -> None:
        super().__init__(ONE_BROKER)
        self._code = code
        #: How often it was told of a session.
        self.told = 0

    def describe_configs(self, asked: list[ConfigResource], **_: object) -> dict[ConfigResource, Future[Any]]:
        return {asked[0]: self._answer()}

    def incremental_alter_configs(self, asked: list[ConfigResource], **_: object) -> dict[ConfigResource, Future[Any]]:
        self.told += 1
        return {asked[0]: self._answer()}

    def _answer(self) -> Future[Any]:
        future: Future[Any] = Future()
        if self._code is None:
            future.set_result({})
        else:
            future.set_exception(KafkaException(KafkaError(self._code)))
        return future


async def agreed(cluster: Cluster, asked: str | None = None) -> str:
    admin = Admin(cast(Clients, Made(cluster)))
    try:
        return await agreed_protocol(admin, asked, "g", 10)
    finally:
        await admin.close()


@pytest.mark.parametrize("code", [None, KafkaError.GROUP_AUTHORIZATION_FAILED])
@pytest.mark.parametrize("asked", [None, "consumer"])
async def test_brokers_that_keep_a_groups_settings_are_told_of_its_session_and_joined_by_kip_848(
    code: int | None, asked: str | None
) -> None:
    cluster = Cluster(code)

    assert await agreed(cluster, asked) == "consumer"
    assert cluster.told


@pytest.mark.parametrize("code", TOO_OLD)
async def test_others_are_joined_by_the_classic_protocol_unless_one_insists(code: int) -> None:
    cluster = Cluster(code)

    assert await agreed(cluster) == "classic"
    with pytest.raises(QueueError, match="these brokers can't do"):
        await agreed(cluster, "consumer")
    assert not cluster.told


async def test_who_wants_the_classic_protocol_asks_nothing() -> None:
    assert await agreed(Cluster(KafkaError._TIMED_OUT), "classic") == "classic"


@pytest.mark.parametrize("code", [KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN])
async def test_while_nobody_says_what_they_can_do_nobody_joins(code: int) -> None:
    with pytest.raises(QueueUnavailable):
        await agreed(Cluster(code))
