"""What is told to whoever uses a Kafka without a right that it takes."""

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    AclOperation,
    ResourceType,
)

from forebay.queues.contract import Queue, Record
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.kafka import admin
from tests.kafka.opener import Opener
from tests.kafka.secured import PASSWORDS, Secured
from tests.kafka.ways_in import Way

from .doctoring import topic as topic
from .test_kafka_doctor_rights import carol

pytestmark = pytest.mark.kafka


@pytest.fixture
def way(secured: Secured) -> Way:
    return carol(secured)


@pytest.fixture
def queue(opened: Opener, way: Way, topic: str) -> Queue:
    return opened(way.bootstrap, kafka=way.kafka, topic=topic)


async def test_whoever_may_not_see_a_group_is_told_so_and_not_that_the_brokers_are_slow(
    secured: Secured, opened: Opener, queue: Queue, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "_ANSWER_S", 3.0)
    await opened(secured.clear).ensure([topic], 1)
    secured.allow("carol", ResourceType.TOPIC, topic, AclOperation.DESCRIBE)
    inspector = queue.inspector()

    with pytest.raises(QueueUnavailable, match=r"Group authorization failed.*on the group \(kafka-acls\)"):
        await inspector.groups(topic, [topic])

    await inspector.close()


async def test_whoever_may_not_make_a_topic_or_let_it_grow_is_told_that_right(
    secured: Secured, opened: Opener, queue: Queue, topic: str
) -> None:
    used = AclOperation.DESCRIBE, AclOperation.READ, AclOperation.WRITE
    secured.allow("carol", ResourceType.TOPIC, topic, *used)
    lacking = r"give our user Create on the topic, and Alter for more partitions \(kafka-acls\)"

    with pytest.raises(QueueError, match=rf"{topic} could not be made.*{lacking}"):
        await queue.ensure([topic], 1)
    await opened(secured.clear).ensure([topic], 1)
    with pytest.raises(QueueError, match=rf"{topic} can't get 2 partitions.*{lacking}"):
        await queue.grow([topic], 2, only_plan=False)  # type: ignore[attr-defined]  # Kafka's queue has it


async def test_whoever_may_write_no_topic_is_not_sent_to_the_rights_on_the_cluster(
    secured: Secured, opened: Opener, way: Way, topic: str
) -> None:
    # Who may write any topic, as carol may those of other tests, is let in, and hears it of this one.
    user = "forebay-web"
    kafka = way.but(sasl_username=user, sasl_password=PASSWORDS[user]).kafka
    await opened(secured.clear).ensure([topic], 1)
    secured.allow(user, ResourceType.TOPIC, topic, AclOperation.DESCRIBE)
    producer = opened(way.bootstrap, kafka=kafka).producer()

    with pytest.raises(QueueUnavailable, match=r"our user may write no topic: give it Write \(kafka-acls\)"):
        await producer.send(topic, Record(key="a.example", value=b"x", timestamp_ms=0))

    await producer.close()
