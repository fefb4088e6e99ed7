"""Where a group begins that has no place yet, as brokers say it, or don't."""

from unittest.mock import Mock

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from forebay.queues.contract import Commit
from forebay.queues.kafka.notes import Notes
from forebay.queues.kafka.starts import starts

ASKED = [TopicPartition("events", number) for number in range(3)]


@pytest.mark.parametrize(
    "code", [KafkaError._TIMED_OUT, KafkaError._UNKNOWN_PARTITION, KafkaError.LEADER_NOT_AVAILABLE]
)
def test_a_leader_that_does_not_answer_is_waited_for_once_and_by_the_client_alone(code: int) -> None:
    client = Mock()
    client.committed.return_value = ASKED
    client.get_watermark_offsets.side_effect = [(3, 7), KafkaException(KafkaError(code))]

    found = starts(client, ASKED, Notes("a"))

    assert found[0].commit == Commit(offset=3)
    assert found[0].commit.is_reset
    assert [found[number].place("events", number).offset for number in (1, 2)] == [OFFSET_BEGINNING] * 2


def test_whatever_else_a_broker_has_to_say_is_asked_again() -> None:
    client = Mock()
    client.committed.return_value = ASKED
    client.get_watermark_offsets.side_effect = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))

    with pytest.raises(KafkaException):
        starts(client, ASKED, Notes("a"))
