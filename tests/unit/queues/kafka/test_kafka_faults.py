"""librdkafka's errors in our words."""

import pytest
from confluent_kafka import KafkaError

from forebay.queues.errors import QueueUnavailable, RecordRefused, UnknownStream
from forebay.queues.kafka.faults import Faults, is_fatal, of_record, sentence


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError.MSG_SIZE_TOO_LARGE, RecordRefused),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, RecordRefused),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, UnknownStream),
        (KafkaError._UNKNOWN_TOPIC, UnknownStream),
        (KafkaError._MSG_TIMED_OUT, QueueUnavailable),
        (KafkaError.NOT_ENOUGH_REPLICAS, QueueUnavailable),
        (KafkaError.KAFKA_STORAGE_ERROR, QueueUnavailable),
    ],
)
def test_an_error_says_who_acts(code: int, kind: type[Exception]) -> None:
    assert type(of_record(KafkaError(code), "events", Faults())) is kind


def test_the_reason_outlives_the_complaints_that_only_follow_from_it() -> None:
    faults = Faults()

    faults.note(KafkaError(KafkaError._AUTHENTICATION, "wrong"))
    faults.note(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))

    assert "sasl.password" in faults.text(otherwise=KafkaError(KafkaError._TIMED_OUT))
    assert "sasl.password" in str(of_record(KafkaError(KafkaError._MSG_TIMED_OUT), "events", faults))


def test_what_works_again_is_forgotten() -> None:
    faults = Faults()
    faults.note(KafkaError(KafkaError._AUTHENTICATION, "wrong"))

    faults.clear()

    assert faults.text(otherwise=KafkaError(KafkaError._TIMED_OUT, "slow")) == "Kafka: slow"


def test_a_fatal_error_is_known_by_what_it_says() -> None:
    reason = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()
    error = KafkaError(KafkaError._FATAL, f"Fatal error: {reason}: the member is fenced")

    assert is_fatal(error)
    assert "group_instance_id" in sentence(error)
