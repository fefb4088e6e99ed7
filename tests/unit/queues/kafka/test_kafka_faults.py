"""librdkafka's errors in our words."""

import pytest
from confluent_kafka import KafkaError

from forebay.queues.errors import QueueUnavailable, RecordRefused, UnknownStream
from forebay.queues.kafka.faults import Faults, is_fatal, of_record, sentence
from forebay.queues.kafka.remedies import is_definite
from forebay.schemas.redaction import without_secrets


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError.MSG_SIZE_TOO_LARGE, RecordRefused),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, QueueUnavailable),
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


def test_a_connection_that_failed_says_more_than_that_no_broker_is_left() -> None:
    faults = Faults()

    faults.note(KafkaError(KafkaError._TRANSPORT, "ssl/tls alert bad certificate"))
    faults.note(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))

    assert "ssl.certificate.location" in faults.text(otherwise=KafkaError(KafkaError._TIMED_OUT))


@pytest.mark.parametrize(
    ("text", "is_reason"),
    [
        ("SASL authentication error: Invalid username or password", True),
        ("SASL PLAIN mechanism handshake failed: Local: Broker transport failure", False),
    ],
)
def test_a_login_that_was_cut_off_is_no_wrong_password(text: str, is_reason: bool) -> None:
    error = KafkaError(KafkaError._AUTHENTICATION, text)

    assert is_definite(error) is is_reason
    assert ("sasl.password" in sentence(error)) is is_reason


def test_a_port_that_speaks_no_tls_is_no_trouble_of_certificates() -> None:
    text = "SSL handshake failed: error:0A00010B:SSL routines::wrong version number"

    assert "speaks no TLS" in sentence(KafkaError(KafkaError._SSL, text))


def test_a_group_that_another_kind_of_program_has_is_not_told_as_missing_alone() -> None:
    code = KafkaError.GROUP_ID_NOT_FOUND

    assert "another kind" in sentence(KafkaError(KafkaError._FATAL, KafkaError(code).str(), True))


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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('Failed to acquire SASL OAUTHBEARER token: {"error": "invalid_client"}', '{"error": "invalid_client"}'),
        ('SASL authentication error: {"status":"invalid_token"}', "or it has expired; check audience"),
        (
            "GroupCoordinator: SASL OAUTHBEARER mechanism handshake failed: Broker: Request not valid in current SASL "
            "state: broker's supported mechanisms: ",
            "the token has expired, and no other came in its place",
        ),
    ],
)
def test_a_log_says_why_a_token_does_not_let_us_in(text: str, told: str) -> None:
    assert told in without_secrets(sentence(KafkaError(KafkaError._AUTHENTICATION, text)))
