"""What librdkafka makes of all properties together, asked before anything serves and without a client that stays."""

import os
import re
import time

import pytest
from confluent_kafka import KafkaError, KafkaException

from forebay.queues.errors import BadQueueSettings, QueueError
from forebay.queues.kafka.properties import faults_of
from forebay.queues.opening import open_checked
from forebay.queues.settings import QueueSettings

PATIENCE_S = 10.0

URL = "kafka://one:9092,two:9092"
SECURE = {"security.protocol": "SASL_PLAINTEXT"}
TOKENS = SECURE | {"sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.method": "oidc"}
#: Where nobody answers, and who asks waits.
ISSUER = {
    "sasl.oauthbearer.token.endpoint.url": "http://127.0.0.1:9/token",
    "sasl.oauthbearer.client.id": "forebay",
    "sasl.oauthbearer.client.secret": "p4ss",
}


@pytest.mark.parametrize(
    ("kafka", "why"),
    [
        ({"max.in.flight": 10}, "`max.in.flight` must be set <= 5"),
        ({"queuing.strategy": "lifo"}, "`queuing.strategy` must be set to `fifo`"),
        ({"receive.message.max.bytes": 1000}, "`receive.message.max.bytes` must be >= `fetch.max.bytes`"),
        ({"reconnect.backoff.ms": 5000}, "`reconnect.backoff.max.ms` must be >= `reconnect.backoff.ms`"),
    ],
)
def test_what_a_client_does_not_take_together_with_the_rest_is_refused_at_the_start(
    kafka: dict[str, str | int], why: str
) -> None:
    before = threads()

    [fault] = faults_of({**kafka, "security.protocol": "SSL", "ssl.ca.location": "/not/there/yet.pem"})

    assert fault.startswith(why)
    assert_none_is_left(before)


def test_properties_that_fit_together_are_taken() -> None:
    together = {"reconnect.backoff.ms": 5000, "reconnect.backoff.max.ms": 9000, "max.in.flight": 1, "linger.ms": 2}

    assert faults_of({**together, "max.poll.interval.ms": 1000, "group.protocol": "classic"}) == []


def test_where_threads_are_short_no_setting_is_to_blame(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(properties: object) -> None:
        raise KafkaException(KafkaError(KafkaError._CRIT_SYS_RESOURCE))

    for client in ("properties.Producer", "properties.Consumer", "clients.AdminClient"):
        monkeypatch.setattr(f"forebay.queues.kafka.{client}", made)

    assert faults_of({"linger.ms": 2}) == []
    with pytest.raises(QueueError) as refused:
        open_checked(QueueSettings.model_validate({"queue_url": URL, "kafka": SECURE}))
    assert not isinstance(refused.value, BadQueueSettings)


@pytest.mark.parametrize(
    ("kafka", "why"),
    [
        (SECURE, "set sasl.mechanism in the setting kafka"),
        (SECURE | {"sasl.mechanism": "PLAIN"}, "sasl.username and sasl.password must be set"),
        (SECURE | {"sasl.mechanism": "PLAIN", "sasl.password.file": "/nowhere/pw"}, "sasl.password.file: /nowhere/pw"),
        ({"security.protocol": "SSL", "ssl.ca.location": "/nowhere/ca.pem"}, "ssl.ca.location: /nowhere/ca.pem can't"),
        ({"security.protocol": "SSL", "ssl.ca.pem": "p4ss"}, "ssl.ca.pem: not in PEM format"),
        (TOKENS, "`sasl.oauthbearer.token.endpoint.url` is mandatory"),
        (TOKENS | ISSUER | {"security.protocol": "SASL_SSL", "ssl.ca.location": "/nowhere/ca.pem"}, "ssl.ca.location"),
    ],
)
def test_a_login_that_can_not_work_is_told_before_anything_serves(kafka: dict[str, str], why: str) -> None:
    before = threads()

    with pytest.raises(QueueError, match=re.escape(why)) as refused:
        open_checked(QueueSettings.model_validate({"queue_url": URL, "kafka": kafka}))

    # Who waits for a file is to be started again.
    assert isinstance(refused.value, BadQueueSettings) == ("/nowhere/" not in str(kafka))
    assert "p4ss" not in str(refused.value)
    assert_none_is_left(before)


@pytest.mark.parametrize(
    "kafka",
    [
        {},
        SECURE | {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "forebay", "sasl.password": "p4ss"},
        {"security.protocol": "SSL"},
        TOKENS | ISSUER,
        TOKENS | ISSUER | {"security.protocol": "SASL_SSL"},
    ],
)
def test_a_login_that_may_work_is_tried_by_nobody_who_only_looks_at_the_settings(kafka: dict[str, str]) -> None:
    before = threads()

    open_checked(QueueSettings.model_validate({"queue_url": URL, "kafka": kafka}))

    assert_none_is_left(before)


def test_asking_librdkafka_about_properties_starts_no_thread() -> None:
    before = threads()

    faults_of({"linger.ms": 5, "no.such": 1, "security.protocol": "SSL"})

    assert_none_is_left(before)


def threads() -> set[str]:
    return set(os.listdir("/proc/self/task"))


def assert_none_is_left(before: set[str]) -> None:
    # One that has ended is listed for a moment more.
    until = time.monotonic() + PATIENCE_S
    while more := threads() - before:
        assert time.monotonic() < until, f"{more} are left"
