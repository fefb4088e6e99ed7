"""`forebay doctor` looks at how the topics of a real Kafka keep events, and at its clock."""

import asyncio
import json
import time
from collections.abc import Mapping

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from forebay.queues.contract import Record
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from tests.kafka.secured import Secured
from tests.kafka.ways_in import ways_in

from .doctoring import Doctor
from .doctoring import doctor as doctor
from .doctoring import made as made
from .doctoring import topic as topic

pytestmark = pytest.mark.kafka

DAY_S = 86_400


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
    altered(made, topic, retention_bytes=1_000_000)
    altered(made, names.dead(topic), retention_ms=604_800_000, max_message_bytes=1_114_112)
    altered(made, names.parked(topic), message_timestamp_before_max_ms=86_400_000, retention_bytes=100 << 30)
    altered(made, names.audit(topic), retention_ms=-1, retention_bytes=-1)

    report = doctor(ways_in(secured)["clear"])

    command = f"kafka-configs --bootstrap-server {secured.clear} --alter --entity-type topics --entity-name {topic}"
    warned = report.told("warn")
    assert report.status == 0
    assert "retention.ms is 3600000: events that no worker has handled are gone after less than a day" in warned
    assert f"-> {command} --add-config message.timestamp.type=CreateTime" in warned
    assert f"max_body_bytes may need 1114112 here, and larger ones are refused -> {command}" in warned
    assert "may need 1179648 here, and a portal with a larger one waits for ever" in warned
    assert f"topic {names.parked(topic)}: message.timestamp.before.max.ms is 86400000: what has waited longer" in warned
    assert f"topic {topic}: retention.bytes is 1000000: a partition that is larger loses its oldest records" in warned
    assert f"topic {names.parked(topic)}: retention.bytes is 107374182400: a partition that is larger" in warned
    assert f"topic {names.audit(topic)}" not in warned
    assert f"topic {names.dead(topic)}: retention.ms is 604800000: what waits for an operator vanishes" in warned
    assert "retention.ms" not in report.told("ok")


@pytest.mark.parametrize(("kept_ms", "told"), [(604_800_000, "for 7 days"), (-1, "for ever")])
def test_how_long_events_are_kept_is_told(
    secured: Secured, doctor: Doctor, made: AdminClient, topic: str, kept_ms: int, told: str
) -> None:
    altered(made, topic, retention_ms=kept_ms)

    fine = doctor(ways_in(secured)["clear"]).told("ok")

    assert f"topic {topic}: retention.ms is {kept_ms}: an event is kept {told}, handled or not" in fine
    assert fine.count("retention.ms") == 1


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
    assert f"{told} 1 -> set partitions to 2; where somebody has added them to this topic alone" in fewer.told("fail")


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


def test_a_transaction_that_nobody_ends_is_told(
    secured: Secured, doctor: Doctor, made: AdminClient, topic: str
) -> None:
    client = Producer({"bootstrap.servers": secured.clear, "transactional.id": topic, "log_level": 0})
    client.init_transactions(30)
    client.begin_transaction()
    for _ in range(2):
        client.produce(topic, b"a stranger's", partition=1)
    client.flush(30)

    meanwhile = doctor(ways_in(secured)["clear"])
    client.abort_transaction(30)
    while "transaction" in (after := doctor(ways_in(secured)["clear"]).told("warn")):
        pass

    told = f"topic {topic}: another program's transaction is open in partitions 1: no worker gets the 2 records"
    assert told in meanwhile.told("warn")
    assert f"kafka-transactions describe-producers --topic {topic} --partition 1" in meanwhile.told("warn")
    assert told not in after


def fill(secured: Secured, topic: str, count: int, *, age_s: float = 0.0) -> None:
    """Put records of that age into the first partition."""
    with Producer({"bootstrap.servers": secured.clear, "log_level": 0}) as client:
        for _ in range(count):
            client.produce(topic, b"x", b"p.example", partition=0, timestamp=round((time.time() - age_s) * 1000))
        assert not client.flush(30)


def stand(secured: Secured, topic: str, offset: int) -> None:
    """Let the group stand there in the first partition, as `kafka-consumer-groups` does."""
    with Consumer({"bootstrap.servers": secured.clear, "group.id": topic, "log_level": 0}) as client:
        client.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)


def test_a_group_whose_place_was_taken_is_told(secured: Secured, doctor: Doctor, made: AdminClient, topic: str) -> None:
    altered(made, topic, retention_ms=8 * DAY_S * 1000)
    fill(secured, topic, 6)
    stand(secured, topic, 2)
    well = doctor(ways_in(secured)["clear"])
    for done in made.delete_records([TopicPartition(topic, 0, 5)]).values():
        done.result(30)

    taken = doctor(ways_in(secured)["clear"])
    stand(secured, topic, 9)
    beyond = doctor(ways_in(secured)["clear"])

    assert f"group {topic}: our user may join it" in well.told("ok")
    assert (well.status, taken.status, beyond.status) == (0, 1, 1)
    [told] = taken.told("fail").splitlines()
    assert f"group {topic}: in partitions 0 of {topic} 3 records were taken before it had handled them" in told
    assert f"--group {topic} --topic {topic}:0 --reset-offsets --to-earliest --execute" in told
    # What is gone was older; what is still there is not.
    assert "older than half of retention.ms" not in taken.told("warn")
    [told] = beyond.told("fail").splitlines()
    assert f"group {topic}: in partitions 0 of {topic} it stands behind the end" in told


@pytest.mark.parametrize(("stands_at", "is_told"), [(None, True), (1, True), (3, False), (4, False)])
def test_events_that_wait_for_too_long_are_told(
    secured: Secured, doctor: Doctor, made: AdminClient, topic: str, stands_at: int | None, is_told: bool
) -> None:
    altered(made, topic, retention_ms=8 * DAY_S * 1000)
    fill(secured, topic, 3, age_s=5 * DAY_S)
    if stands_at != 3:
        fill(secured, topic, 1)
    if stands_at is not None:
        stand(secured, topic, stands_at)

    report = doctor(ways_in(secured)["clear"])

    told = (
        f"topic {topic}: in partitions 0 events wait for workers that are older than half of retention.ms (691200000)"
    )
    assert (told in report.told("warn")) is is_told
    assert report.status == 0


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
