"""The setting `kafka`: what passes, what may not, and that secrets stay secret."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer

from forebay.console.settings import load_settings
from forebay.queues.bad_settings import BadSettings
from forebay.queues.errors import QueueError
from forebay.queues.kafka.clients import Clients
from forebay.queues.kafka.faults import Faults
from forebay.queues.kafka.properties import (
    everywhere,
    faults_of,
    for_admin,
    for_member,
    for_outsider,
    for_producer,
    of_the_classic_protocol,
    of_the_new_protocol,
)
from forebay.queues.settings import QueueSettings

URL = "kafka://one:9092,two:9092"


def settings(**kafka: object) -> QueueSettings:
    return QueueSettings.model_validate({"queue_url": URL, "kafka": {k.replace("_", "."): v for k, v in kafka.items()}})


def test_the_brokers_come_from_the_url() -> None:
    properties = everywhere(settings())

    assert properties["bootstrap.servers"] == "one:9092,two:9092"


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("kafka://user:pw@one:9092", "sasl.password"),
        ("kafka://", "kafka://host1:9092"),
        ("kafka://one:9092/topic", "kafka://host1:9092"),
    ],
)
def test_a_url_that_can_not_be_meant_is_told_without_its_password(url: str, remedy: str) -> None:
    with pytest.raises(QueueError, match=remedy) as refused:
        everywhere(QueueSettings(queue_url=url))

    assert "pw" not in str(refused.value)


def test_properties_pass_through_to_every_client() -> None:
    shared = everywhere(settings(security_protocol="SASL_SSL", linger_ms=2, sasl_password="secret"))

    clients = (
        for_producer(shared),
        for_admin(shared),
        for_outsider(shared, "g"),
        for_member(shared, group="g", instance=""),
    )
    for properties in clients:
        assert properties["security.protocol"] == "SASL_SSL"
        assert properties["linger.ms"] == 2
        assert properties["sasl.password"] == "secret"


def test_what_the_page_says_is_set_is_set() -> None:
    shared = everywhere(settings())
    ours = {**for_member(shared, group="g", instance=""), **for_producer(shared), **for_admin(shared)}

    told = {name: value for name, value, _ in documented()}
    usual = {name: value for name, _, value in documented()}

    assert {"acks", "enable.idempotence", "message.timeout.ms", "auto.offset.reset"} < told.keys()
    assert {name: str(ours.get(name, usual[name])).lower() for name in told} == told


def documented() -> Iterator[tuple[str, str, str]]:
    """Property, what Forebay sets, and what it is otherwise; without those that have a value here and another there."""
    page = Path(__file__).parents[4].joinpath("docs", "kafka.md").read_text("utf-8")
    table = page.split("| property | Forebay |")[1].split("\n\n")[0]
    for row in re.findall(r"^\| (`.+?) \| (.+?) \| (.+?) \|", table, re.MULTILINE):
        names, ours, usual = (re.sub(r"(?<=\d),(?=\d{3})|`", "", cell).split(", ") for cell in row)
        # Of a word with an explanation behind it the explanation counts.
        for name, value, otherwise in zip(names, ours, usual, strict=False):
            if value == "librdkafka's":
                yield name, otherwise, otherwise
            elif " " not in value:
                yield name, value, otherwise


@pytest.mark.parametrize(("asked", "protocol"), [("Consumer", "consumer"), ("CLASSIC", "classic")])
def test_a_protocol_that_is_insisted_on_is_the_one_however_it_is_written(asked: str, protocol: str) -> None:
    assert Clients(settings(group_protocol=asked)).asked_protocol == protocol


def test_what_would_end_a_client_for_each_refused_record_is_refused() -> None:
    assert faults_of({"enable.gapless.guarantee": True}) == [
        "enable.gapless.guarantee can't be set here; it would end the client for each record that the brokers refuse"
    ]


@pytest.mark.parametrize(("name", "value"), [("delivery.report.only.error", True), ("statistics.interval.ms", 0)])
def test_what_would_leave_us_without_a_word_from_the_client_is_refused(name: str, value: int | bool) -> None:
    assert [fault.split(";")[0] for fault in faults_of({name: value})] == [f"{name} can't be set here"]


def test_a_client_that_is_no_member_is_made_whatever_polls_the_members_have() -> None:
    shared = everywhere(settings(max_poll_interval_ms=7_000))

    Consumer({**for_outsider(shared, "g"), "session.timeout.ms": 6_000}).close()
    assert "max.poll.interval.ms" not in for_outsider(shared, "g")


def test_what_would_break_a_promise_is_refused_with_all_faults_at_once() -> None:
    with pytest.raises(QueueError) as refused:
        everywhere(settings(acks=1, group_id="x", enable_auto_commit=True, session_timeout_ms=1))

    for name in ("acks", "group.id", "enable.auto.commit", "session.timeout.ms"):
        assert f"kafka: {name} can't be set here" in str(refused.value)
    assert "session_s" in str(refused.value)


def test_what_librdkafka_does_not_take_is_told_with_all_faults_at_once_and_no_secret() -> None:
    wrong = {"linger_msec": 5, "enable_idempotence": True, "security_protocol": "SSSL", "fetch_wait_max_ms": "soon"}

    with pytest.raises(QueueError) as refused:
        everywhere(settings(**wrong, ssl_key_passwort="p4ss", receive_message_max_bytes=10**12))

    told = str(refused.value)
    for name in ("linger.msec", "enable.idempotence", "security.protocol", "fetch.wait.max.ms", "ssl.key.passwort"):
        assert f"kafka: {name}" in told
    assert "kafka: receive.message.max.bytes" in told
    assert "p4ss" not in told


def test_a_password_stands_in_one_place_only() -> None:
    assert faults_of({"sasl.password.file": "/run/password"}) == []
    assert faults_of({"sasl.password.file": "/run/password", "sasl.password": "hush"}) == [
        "sasl.password and sasl.password.file are both set; one of them must go"
    ]


@pytest.mark.parametrize(("content", "told"), [(None, "No such file"), ("\n", "is empty")])
def test_a_client_whose_password_is_not_there_is_not_made(tmp_path: Path, content: str | None, told: str) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content, "utf-8")
    clients = Clients(settings(security_protocol="SASL_SSL", sasl_password_file=str(file)))

    with pytest.raises(QueueError, match=told) as refused:
        clients.admin(Faults())

    assert str(file) in str(refused.value)


def test_what_is_a_function_in_librdkafka_is_no_setting() -> None:
    assert [fault.split(";")[0] for fault in faults_of({"error_cb": "x", "oauth_cb": "x", "logger": "x"})] == [
        "logger can't be set here",
        "error_cb can't be set here",
        "oauth_cb can't be set here",
    ]


def test_properties_that_can_not_be_used_stop_the_start_with_the_other_faults() -> None:
    environ = {"FOREBAY_QUEUE_URL": URL, "FOREBAY_PARTITIONS": "many", "FOREBAY_KAFKA": '{"linger.msec": 5, "acks": 1}'}

    with pytest.raises(BadSettings) as refused:
        load_settings(environ=environ)

    told = str(refused.value)
    assert "partitions (from FOREBAY_PARTITIONS)" in told
    assert "kafka (from FOREBAY_KAFKA): acks can't be set here" in told
    assert "linger.msec" in told


def test_properties_are_left_alone_where_another_queue_is_used() -> None:
    loaded = load_settings(environ={"FOREBAY_KAFKA": '{"linger.msec": 5}'})

    assert loaded.settings.queue_url.startswith("sqlite:")


def test_a_property_whose_name_lacks_its_quotes_is_told_how_to_write_it(tmp_path: Path) -> None:
    config = tmp_path / "forebay.toml"
    config.write_text(f'queue_url = "{URL}"\n[kafka]\nsasl.password = "p4ss"\n"linger.ms" = 1.5\n')

    with pytest.raises(BadSettings) as refused:
        load_settings(config, environ={})

    told = str(refused.value)
    assert """write the property's whole name in quotes, as in "sasl.password\"""" in told
    assert "linger.ms should be text, a whole number, true or false" in told
    assert "p4ss" not in told


def test_a_password_of_digits_is_a_secret_too() -> None:
    environ = {"FOREBAY_QUEUE_URL": URL, "FOREBAY_KAFKA": '{"sasl.password": 471147, "ssl.key.password": "47"}'}

    loaded = load_settings(environ=environ)

    assert loaded.shown()["kafka"][0] == "{sasl.password: ***, ssl.key.password: ***}"
    assert everywhere(loaded.settings)["sasl.password"] == "471147"


def test_a_client_that_can_not_be_made_names_every_file_that_can_not_be_read() -> None:
    files = {"ssl.ca.location": "/nowhere/ca.pem", "ssl.key.location": "/nowhere/own.key"}
    given = {"queue_url": URL, "kafka": {"security.protocol": "SSL", **files}}
    clients = Clients(QueueSettings.model_validate(given))

    with pytest.raises(QueueError) as refused:
        clients.admin(Faults())

    for name, path in files.items():
        assert f"{name}: {path} can't be read: No such file or directory" in str(refused.value)


def test_the_new_protocol_gets_nothing_that_its_client_refuses() -> None:
    shared = everywhere(settings(heartbeat_interval_ms=100))

    properties = of_the_new_protocol(for_member(shared, group="g", instance="worker-1"))

    assert properties["group.protocol"] == "consumer"
    assert properties["group.instance.id"] == "worker-1"
    assert not {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"} & properties.keys()


def test_the_classic_protocol_gets_the_session_and_moves_partitions_one_by_one() -> None:
    properties = of_the_classic_protocol(for_member(everywhere(settings()), group="g", instance=""), session_s=6)

    assert properties["session.timeout.ms"] == 6000
    assert properties["heartbeat.interval.ms"] == 600
    assert properties["partition.assignment.strategy"] == "cooperative-sticky"
    assert "group.instance.id" not in properties


def test_secrets_of_the_setting_are_shown_nowhere() -> None:
    text = '{"sasl.username": "forebay", "sasl.password": "p4ss", "sasl.oauthbearer.client.secret": "p4ss"}'

    loaded = load_settings(environ={"FOREBAY_QUEUE_URL": URL, "FOREBAY_KAFKA": text})

    assert "p4ss" not in repr(loaded.settings)
    shown, source = loaded.shown()["kafka"]
    assert shown == "{sasl.username: forebay, sasl.password: ***, sasl.oauthbearer.client.secret: ***}"
    assert source == "FOREBAY_KAFKA"
    assert everywhere(loaded.settings)["sasl.password"] == "p4ss"
