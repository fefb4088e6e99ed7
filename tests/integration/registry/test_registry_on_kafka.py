"""On a real Kafka: its own clients read the topic that Forebay writes, and Forebay reads what they write into it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from forebay.schemas import names
from forebay.schemas.portal import partition_of
from forebay.schemas.versions import schema_texts
from tests.kafka.fixtures import Kafka
from tests.kafka.opener import opening
from tests.registry.fake import FakeRegistry
from tests.registry.site import PARTITIONS, PORTAL, Site, plain, until_said
from tests.waiting import until

pytestmark = pytest.mark.kafka

#: How long one poll waits where a record is sure to come.
PATIENCE_S = 30.0


@pytest.fixture
async def kafka_site(kafka: Kafka, fake: FakeRegistry, tmp_path: Path) -> AsyncIterator[Site]:
    async with opening(tmp_path) as opened:
        topic = f"events-{uuid4().hex}"
        made = Site(registry=fake, queue=opened(kafka.bootstrap, topic=topic), topic=topic)
        await made.queue.ensure(names.streams(topic), PARTITIONS)
        yield made
        await made.stop()


def read(kafka: Kafka, topic: str, count: int) -> list[Message]:
    """So many records of the portal's partition, by a plain consumer."""
    properties = {"bootstrap.servers": kafka.bootstrap, "group.id": topic + "-tool", "log_level": 0}
    consumer = Consumer(properties)
    consumer.assign([TopicPartition(topic, partition_of(PORTAL, PARTITIONS), 0)])
    try:
        found = [consumer.poll(PATIENCE_S) for _ in range(count)]
    finally:
        consumer.close()
    assert all(one is not None and one.error() is None for one in found), found
    return [one for one in found if one is not None]


async def test_kafka_tools_read_the_topic_and_write_into_it(kafka: Kafka, kafka_site: Site) -> None:
    topic, handled = kafka_site.topic, kafka_site.handled
    kafka_site.worker()
    await kafka_site.send(plain(0))
    async with kafka_site.ingest() as gate:
        await until_said(lambda: gate.is_ready("ok"))
        await gate.post(1)
        await until(lambda: len(handled) == 2)

        def tool() -> Any:
            with SchemaRegistryClient({"url": kafka_site.registry.url}) as client:
                deserialize, serialize = AvroDeserializer(client), AvroSerializer(client, schema_texts()[-1])
                where = SerializationContext(topic, MessageField.VALUE)
                event: Any = deserialize(read(kafka, topic, 2)[1].value(), where)
                again = event | {"fields": event["fields"] | {"data[FIELDS][ID]": "2"}}
                producer = Producer({"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random"})
                producer.produce(topic, serialize(again, where), key=PORTAL)
                producer.flush(PATIENCE_S)
                return event

        event = await asyncio.to_thread(tool)
        await gate.post(3)
        await until(lambda: len(handled) == 4)

    assert (event["portal"], event["name"]) == (PORTAL, "ONCRMDEALADD")
    assert handled == [(PORTAL, number) for number in range(4)]
