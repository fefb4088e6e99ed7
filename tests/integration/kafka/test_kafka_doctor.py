"""`forebay doctor` against each usual fault of a real Kafka: it says what is wrong, what to do, and no secret."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    AclOperation,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from typer.testing import CliRunner

from forebay.console.cli import build
from forebay.queues.contract import Record
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from tests.kafka.cluster import free_ports
from tests.kafka.identity_provider import SECRET
from tests.kafka.secured import PASSWORDS, Secured
from tests.kafka.ways_in import Way, ways_in

pytestmark = pytest.mark.kafka

WRONG = "not-the-password-4711"
SECRETS = (*PASSWORDS.values(), SECRET, WRONG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The exit status, and the findings about the queue."""

    status: int
    findings: list[dict[str, str]]

    def told(self, state: str) -> str:
        """The findings of that state, a line each."""
        return "\n".join(
            f"{one['check']}: {one['detail']} -> {one['remedy']}" for one in self.findings if one["state"] == state
        )


@pytest.fixture
def topic() -> str:
    return f"events-{uuid4().hex[:12]}"


Doctor = Callable[..., Report]


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], topic: str) -> Doctor:
    """Runs it as a user does; none of the secrets may be in what it prints, nor in what librdkafka prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOREBAY_PARTITIONS", "2")
    monkeypatch.setenv("FOREBAY_GROUP", topic)
    monkeypatch.setenv("FOREBAY_TOPIC", topic)

    def run(way: Way, *options: str) -> Report:
        monkeypatch.setenv("FOREBAY_QUEUE_URL", f"kafka://{way.bootstrap}")
        monkeypatch.setenv("FOREBAY_KAFKA", json.dumps(way.kafka))
        done = CliRunner().invoke(build(), ["doctor", "--json", *options])
        if isinstance(done.exception, Exception) and not isinstance(done.exception, SystemExit):
            raise done.exception
        printed = done.output + "".join(capfd.readouterr())
        assert not [secret for secret in SECRETS if secret in printed]
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        about = ("broker", "kafka", "queue", "topic", "group", "newest")
        return Report(status=done.exit_code, findings=[row for row in rows if row["check"].startswith(about)])

    return run


@pytest.fixture
def made(secured: Secured, topic: str) -> Iterator[AdminClient]:
    """The streams are there, as Forebay makes them; an admin who may change them."""
    asyncio.run(_ensure(secured, topic))
    with AdminClient({"bootstrap.servers": secured.clear, "log_level": 0}) as admin:
        yield admin


async def _ensure(secured: Secured, topic: str) -> None:
    queue = open_queue(QueueSettings(queue_url=f"kafka://{secured.clear}"))
    await queue.ensure(names.streams(topic), 2)
    await queue.close()


def test_all_is_well(secured: Secured, doctor: Doctor, made: AdminClient) -> None:
    report = doctor(ways_in(secured)["scram over tls"])

    assert report.status == 0, report.told("fail")
    assert "queue: reached, and every stream is there" in report.told("ok")
    assert "newest record: the queue is empty" in report.told("ok")
    # The cluster of the tests has one broker; nothing else is to be said.
    [warning] = report.told("warn").splitlines()
    assert warning.startswith("brokers: a cluster of 1 can't keep 3 copies")


def test_what_is_missing_is_no_failure(secured: Secured, doctor: Doctor, topic: str) -> None:
    report = doctor(ways_in(secured)["clear"])

    assert report.status == 0
    assert f"stream {topic} with 2 partitions" in report.told("warn")
    assert "forebay topics ensure" in report.told("warn")


#: Fault → the way that has it, and what must be said.
FAULTS: Mapping[str, tuple[Callable[[Secured, Mapping[str, Way]], Way], tuple[str, ...]]] = {
    "a wrong password": (lambda s, w: w["plain"].but(sasl_password=WRONG), ("authentication", "sasl.password")),
    "a wrong password over TLS": (
        lambda s, w: w["scram over tls"].but(sasl_password=WRONG),
        ("invalid credentials", "sasl.password"),
    ),
    "a mechanism that the brokers lack": (
        lambda s, w: w["plain"].but(sasl_mechanism="SCRAM-SHA-256"),
        ("supported mechanisms: PLAIN,SCRAM-SHA-512", "set sasl.mechanism"),
    ),
    "no mechanism": (lambda s, w: w["plain"].but(sasl_mechanism=None), ("set sasl.mechanism", "SCRAM-SHA-512")),
    "no user": (lambda s, w: w["plain"].but(sasl_username=None), ("sasl.username and sasl.password must be set",)),
    "a login without its protocol": (
        lambda s, w: w["plain"].but(security_protocol=None),
        ("wants a login (PLAIN, SCRAM-SHA-512)", "security.protocol in the setting kafka to SASL_PLAINTEXT"),
    ),
    "a login where none is wanted": (
        lambda s, w: w["plain"].at(s.clear),
        ("wants no login", "security.protocol"),
    ),
    "an authority that is not known": (
        lambda s, w: w["tls"].but(ssl_ca_location=str(s.other_authority)),
        ("authority that is not known here", "ssl.ca.location"),
    ),
    "no authority": (
        lambda s, w: w["tls"].but(ssl_ca_location=None),
        ("authority that is not known here", "ssl.ca.location"),
    ),
    "no such authority's file": (
        lambda s, w: w["tls"].but(ssl_ca_location="/nowhere/ca.pem"),
        ("kafka ssl.ca.location: /nowhere/ca.pem can't be read: No such file",),
    ),
    "no such certificate's file": (
        lambda s, w: w["mutual tls"].but(ssl_certificate_location="/nowhere/own.pem"),
        ("kafka ssl.certificate.location: /nowhere/own.pem can't be read: No such file",),
    ),
    "no such key's file": (
        lambda s, w: w["mutual tls"].but(ssl_key_location="/nowhere/own.key"),
        ("kafka ssl.key.location: /nowhere/own.key can't be read: No such file",),
    ),
    "a key of another certificate": (
        lambda s, w: w["mutual tls"].but(ssl_key_location=str(s.expired_client.key)),
        ("ssl.key.location", "key values mismatch"),
    ),
    "a broker's certificate that has expired": (
        lambda s, w: w["tls"].at(s.at("EXPIRED")),
        ("has expired", "renewed"),
    ),
    "a certificate for another name": (
        lambda s, w: w["tls"].at(s.at("FOREIGN", "localhost")),
        ("certificate is not valid for 'localhost'", "a name in queue_url that is in the certificate"),
    ),
    "a certificate for another address": (
        lambda s, w: w["tls"].at(s.at("FOREIGN")),
        ("certificate is not valid for '127.0.0.1'",),
    ),
    "no certificate where one is wanted": (
        lambda s, w: w["mutual tls"].but(ssl_certificate_location=None, ssl_key_location=None),
        ("want a certificate", "ssl.certificate.location"),
    ),
    "a certificate of ours that has expired": (
        lambda s, w: w["mutual tls"].but(
            ssl_certificate_location=str(s.expired_client.certificate), ssl_key_location=str(s.expired_client.key)
        ),
        ("kafka ssl.certificate.location", "has expired on", "renewed"),
    ),
    "TLS on a port without": (lambda s, w: w["tls"].at(s.clear), ("speaks no TLS", "to PLAINTEXT")),
    "no TLS on a port with it": (
        lambda s, w: w["clear"].at(s.at("SSL")),
        ("speaks TLS only", "security.protocol in the setting kafka to SSL"),
    ),
    "no TLS on a port with TLS and a login": (
        lambda s, w: w["plain"].at(s.at("SASL_SSL")),
        ("speaks TLS only", "security.protocol in the setting kafka to SASL_SSL"),
    ),
    "TLS without the login": (
        lambda s, w: w["tls"].at(s.at("SASL_SSL")),
        ("wants a login (PLAIN, SCRAM-SHA-512)", "security.protocol in the setting kafka to SASL_SSL"),
    ),
    "a wrong secret for the tokens": (
        lambda s, w: w["oidc"].but(sasl_oauthbearer_client_secret=WRONG),
        ("invalid_client", "sasl.oauthbearer.token.endpoint.url"),
    ),
    "no method for the tokens": (
        lambda s, w: w["oidc"].but(sasl_oauthbearer_method=None),
        ("kafka sasl.oauthbearer.method: not set", "oidc"),
    ),
    "tokens that the brokers don't take": (
        lambda s, w: w["unsigned tokens"].at(s.at("OIDC")),
        ("invalid_token", "audience"),
    ),
    "nobody there": (
        lambda s, w: w["clear"].at(f"127.0.0.1:{free_ports(1)[0]}"),
        ("refuses connections", "queue_url"),
    ),
    "a name that nobody knows": (
        lambda s, w: w["clear"].at("kafka.invalid:9092"),
        ("broker kafka.invalid:9092: the name can't be resolved", "queue_url"),
    ),
    "an advertised address where nobody is": (
        lambda s, w: w["clear"].at(s.at("LOST")),
        ("broker 1: tells its clients to come to 127.0.0.1:", "refuses connections", "advertised.listeners"),
    ),
    "an advertised name that nobody knows": (
        lambda s, w: w["clear"].at(s.at("NAMELESS")),
        ("tells its clients to come to kafka-0.invalid:", "can't be resolved", "advertised.listeners"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_usual_fault_is_told_with_its_remedy(secured: Secured, doctor: Doctor, fault: str) -> None:
    broken, told = FAULTS[fault]

    report = doctor(broken(secured, ways_in(secured)))

    assert report.status == 1
    [line] = report.told("fail").splitlines()
    assert not [part for part in told if part.lower() not in line.lower()], line


def test_a_file_that_may_not_be_read_is_told(secured: Secured, doctor: Doctor, tmp_path: Path) -> None:
    # A folder where a file should be can't be read by root either.
    way = ways_in(secured)["mutual tls"].but(ssl_key_location=str(tmp_path))

    report = doctor(way)

    assert report.status == 1
    assert "ssl.key.location" in report.told("fail")


def test_a_port_that_never_answers_is_given_up(secured: Secured, doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        report = doctor(ways_in(secured)["clear"].at(f"127.0.0.1:{silent.getsockname()[1]}"))

    assert report.status == 1
    # By its own limits, and not by that of the whole.
    assert "does not let us in within 4 s" in report.told("fail")


def test_one_address_of_several_that_is_wrong_is_a_warning(secured: Secured, doctor: Doctor, made: AdminClient) -> None:
    report = doctor(ways_in(secured)["clear"].at(f"kafka.invalid:9092,{secured.clear}"))

    assert report.status == 0
    assert "broker kafka.invalid:9092: the name can't be resolved" in report.told("warn")


def carol(secured: Secured) -> Way:
    return ways_in(secured)["plain"].but(sasl_username="carol", sasl_password=PASSWORDS["carol"])


def test_rights_are_named_one_by_one(secured: Secured, doctor: Doctor, made: AdminClient, topic: str) -> None:
    secured.allow("carol", ResourceType.TOPIC, topic, AclOperation.WRITE, AclOperation.DESCRIBE_CONFIGS)
    secured.allow("carol", ResourceType.TOPIC, names.dead(topic), AclOperation.READ, AclOperation.DESCRIBE_CONFIGS)
    secured.allow("carol", ResourceType.TOPIC, names.parked(topic), AclOperation.DESCRIBE)

    report = doctor(carol(secured))

    adding = f"kafka-acls --bootstrap-server {secured.at('SASL')} --add --allow-principal 'User:carol'"
    failed = report.told("fail")
    assert report.status == 1
    assert f"topic {topic}: our user may not read it -> {adding} --operation Read --topic {topic}" in failed
    assert f"may not write it -> {adding} --operation Write --topic {names.dead(topic)}" in failed
    assert f"may not read and write it -> {adding} --operation Read --operation Write --topic" in failed
    for unseen in (names.quarantine(topic), names.audit(topic)):
        assert f"topic {unseen}: our user may not see it -> {adding}" in failed
    assert f"group {topic}: our user may not join it -> {adding} --operation Read --group {topic}" in failed
    assert "its settings can't be seen" in report.told("warn")
    assert len(failed.splitlines()) == 6


def test_a_user_that_may_do_what_its_side_needs_is_well(
    secured: Secured, doctor: Doctor, made: AdminClient, topic: str
) -> None:
    seen = AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS
    for stream in names.streams(topic):
        secured.allow("carol", ResourceType.TOPIC, stream, *seen)
    for stream in (topic, names.quarantine(topic)):
        secured.allow("carol", ResourceType.TOPIC, stream, AclOperation.WRITE)
    as_ingest = doctor(carol(secured), "--side", "ingest")
    as_worker = doctor(carol(secured), "--side", "process")
    for stream in (topic, names.audit(topic), names.parked(topic), names.dead(topic)):
        secured.allow("carol", ResourceType.TOPIC, stream, AclOperation.READ)
    for stream in (names.parked(topic), names.dead(topic)):
        secured.allow("carol", ResourceType.TOPIC, stream, AclOperation.WRITE)
    secured.allow("carol", ResourceType.GROUP, topic, AclOperation.READ)
    as_worker_now = doctor(carol(secured), "--side", "process")

    assert as_ingest.status == 0, as_ingest.told("fail")
    assert as_worker.status == 1
    assert as_worker_now.status == 0, as_worker_now.told("fail")
    assert "session_s" in as_worker_now.told("warn")


def test_a_user_that_may_not_make_topics_is_told(secured: Secured, doctor: Doctor, topic: str) -> None:
    for stream in names.streams(topic):
        secured.allow("carol", ResourceType.TOPIC, stream, AclOperation.READ, AclOperation.WRITE)
    report = doctor(carol(secured))
    secured.allow("carol", ResourceType.TOPIC, topic, AclOperation.CREATE)
    now = doctor(carol(secured))

    assert f"topic {topic}: our user may not make it" in report.told("fail")
    assert f"--operation Create --topic {topic}" in report.told("fail")
    assert f"topic {topic}: our user may not make it" not in now.told("fail")
    assert "forebay topics ensure" in now.told("warn")


def altered(admin: AdminClient, topic: str, **settings: object) -> None:
    entries = [
        ConfigEntry(name.replace("_", "."), str(value), incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(30)
    # The controller has them; the broker that answers hears of them a moment later.
    wanted = {entry.name: entry.value for entry in entries}
    while wanted.items() - {name: one.value for name, one in _config(admin, topic).items()}.items():
        pass


def _config(admin: AdminClient, topic: str) -> dict[str, ConfigEntry]:
    [asked] = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    found: dict[str, ConfigEntry] = asked.result(30)
    return found


def test_settings_that_keep_events_badly_are_told_with_the_command(
    secured: Secured, doctor: Doctor, made: AdminClient, topic: str
) -> None:
    altered(made, topic, retention_ms=3_600_000, message_timestamp_type="LogAppendTime", max_message_bytes=100_000)
    altered(made, names.dead(topic), retention_ms=604_800_000, max_message_bytes=1_114_112)

    report = doctor(ways_in(secured)["clear"])

    command = f"kafka-configs --bootstrap-server {secured.clear} --alter --entity-type topics --entity-name {topic}"
    warned = report.told("warn")
    assert report.status == 0
    assert "retention.ms is 3600000: events that no worker has handled are gone after less than a day" in warned
    assert f"-> {command} --add-config message.timestamp.type=CreateTime" in warned
    assert f"max_body_bytes may need 1114112 here, and larger ones are refused -> {command}" in warned
    assert "may need 1179648 here, and a portal with a larger one waits for ever" in warned
    assert f"topic {names.dead(topic)}: retention.ms is 604800000: what waits for an operator vanishes" in warned


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"cleanup_policy": "compact"}, "all but a portal's last event will be thrown away"),
        ({"min_insync_replicas": 2}, "more than the 1 copies that there are, so nothing can be written"),
    ],
)
def test_settings_that_lose_events_are_failures(
    secured: Secured, doctor: Doctor, made: AdminClient, topic: str, settings: Mapping[str, object], told: str
) -> None:
    altered(made, topic, **settings)

    report = doctor(ways_in(secured)["clear"])

    assert report.status == 1
    assert told in report.told("fail")


def test_another_number_of_partitions_is_told(
    secured: Secured, doctor: Doctor, made: AdminClient, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREBAY_PARTITIONS", "3")
    more = doctor(ways_in(secured)["clear"])
    monkeypatch.setenv("FOREBAY_PARTITIONS", "1")
    fewer = doctor(ways_in(secured)["clear"])

    told = f"topic {topic}: has 2 partitions, and the setting partitions says"
    assert more.status == fewer.status == 1
    assert f"{told} 3 -> set partitions to 2, or see forebay topics grow --partitions 3" in more.told("fail")
    assert f"{told} 1 -> set partitions to 2\n" in fewer.told("fail")


def test_a_clock_that_is_ahead_is_told(secured: Secured, doctor: Doctor, made: AdminClient, topic: str) -> None:
    asyncio.run(_send_from_the_future(secured, topic))

    report = doctor(ways_in(secured)["clear"])

    assert "in the future -> set the clocks of the machines by NTP" in report.told("warn")


async def _send_from_the_future(secured: Secured, topic: str) -> None:
    queue = open_queue(QueueSettings(queue_url=f"kafka://{secured.clear}"))
    producer = queue.producer()
    await producer.send(topic, Record(key="p.example", value=b"x", timestamp_ms=round(time.time() * 1000) + 600_000))
    await producer.close()
    await queue.close()


@pytest.fixture
def facts(secured: Secured, made: AdminClient, topic: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The topic of facts about portals is there too, and the settings want it."""
    monkeypatch.setenv("FOREBAY_AUTH", "registry")
    monkeypatch.setenv("FOREBAY_CLIENT_ID", "app.1")
    monkeypatch.setenv("FOREBAY_SEAL_KEYS", json.dumps({"2026": "A" * 43 + "="}))
    asyncio.run(_ensure_facts(secured, topic))
    return names.portals(topic)


async def _ensure_facts(secured: Secured, topic: str) -> None:
    queue = open_queue(QueueSettings(queue_url=f"kafka://{secured.clear}"))
    store = queue.portals(topic)
    await store.ensure()
    await store.close()
    await queue.close()


def test_the_facts_about_portals_are_well_as_forebay_makes_their_topic(
    secured: Secured, doctor: Doctor, facts: str
) -> None:
    report = doctor(ways_in(secured)["clear"])

    assert report.status == 0
    assert "queue: reached, and every stream is there" in report.told("ok")
    assert facts not in report.told("warn")


def test_facts_about_portals_that_are_missing_are_told(
    secured: Secured, doctor: Doctor, made: AdminClient, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREBAY_SEAL_KEYS", json.dumps({"2026": "A" * 43 + "="}))

    report = doctor(ways_in(secured)["clear"])

    assert f"stream {names.portals(topic)} with 1 partitions" in report.told("warn")


@pytest.mark.parametrize(
    ("settings", "state", "told"),
    [
        ({"cleanup_policy": "delete"}, "fail", "portals whose tokens were learned long ago will be refused"),
        ({"max_compaction_lag_ms": 999_999_999}, "warn", "data key may stay on the brokers' disks"),
    ],
)
def test_a_topic_that_keeps_facts_about_portals_badly_is_told_with_the_command(
    secured: Secured,
    doctor: Doctor,
    made: AdminClient,
    facts: str,
    settings: Mapping[str, object],
    state: str,
    told: str,
) -> None:
    altered(made, facts, **settings)

    report = doctor(ways_in(secured)["clear"])

    assert told in report.told(state)
    assert f"--entity-name {facts} --add-config" in report.told(state)
