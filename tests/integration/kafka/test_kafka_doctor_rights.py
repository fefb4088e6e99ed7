"""`forebay doctor` names the rights that a user of Kafka lacks, one by one, each with its command."""

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    AclOperation,
    AdminClient,
    ResourceType,
)

from forebay.schemas import names
from tests.kafka.secured import PASSWORDS, Secured
from tests.kafka.ways_in import Way, ways_in

from .doctoring import Doctor
from .doctoring import doctor as doctor
from .doctoring import made as made
from .doctoring import topic as topic

pytestmark = pytest.mark.kafka


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
    secured.allow("carol", ResourceType.GROUP, topic, AclOperation.DESCRIBE)
    as_ingest = doctor(carol(secured), "--side", "ingest")
    as_worker = doctor(carol(secured), "--side", "process")
    as_canary = doctor(carol(secured), "--side", "canary")
    secured.allow("carol", ResourceType.TOPIC, topic, AclOperation.READ)
    as_canary_now = doctor(carol(secured), "--side", "canary")
    for stream in (names.audit(topic), names.parked(topic), names.dead(topic)):
        secured.allow("carol", ResourceType.TOPIC, stream, AclOperation.READ)
    for stream in (names.parked(topic), names.dead(topic)):
        secured.allow("carol", ResourceType.TOPIC, stream, AclOperation.WRITE)
    secured.allow("carol", ResourceType.GROUP, topic, AclOperation.READ)
    as_worker_now = doctor(carol(secured), "--side", "process")

    assert as_ingest.status == 0, as_ingest.told("fail")
    assert as_worker.status == as_canary.status == 1
    assert as_canary_now.status == 0, as_canary_now.told("fail")
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


def test_a_stranger_in_the_group_is_told(secured: Secured, doctor: Doctor, made: AdminClient, topic: str) -> None:
    common = {"bootstrap.servers": secured.clear, "group.id": topic, "group.protocol": "consumer", "log_level": 0}
    ours = Consumer({**common, "client.id": "forebay"})
    stranger = Consumer({**common, "client.id": "analytics-copied-from-a-wiki"})
    for member in (ours, stranger):
        member.subscribe([topic])
    while not (ours.assignment() and stranger.assignment()):
        ours.poll(0.1)
        stranger.poll(0.1)

    with_both = doctor(ways_in(secured)["clear"])
    stranger.close()
    with_ours = doctor(ways_in(secured)["clear"])
    ours.close()

    assert (
        f"group {topic}: other programs are in it (analytics-copied-from-a-wiki on 127.0.0.1): no handler gets"
        in with_both.told("warn")
    )
    assert "other programs" not in with_ours.told("warn")
