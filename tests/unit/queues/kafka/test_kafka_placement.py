"""By which number of partitions a producer places what comes before it is known that the streams are well."""

import asyncio
from collections.abc import Collection
from typing import cast

import pytest

from forebay.queues.contract import Record
from forebay.queues.errors import QueueError, QueueUnavailable, UnknownStream
from forebay.queues.kafka.admin import Admin, Topic
from forebay.queues.kafka.clients import Clients
from forebay.queues.kafka.producer import KafkaProducer
from forebay.queues.kafka.topics import Topics
from forebay.schemas import names
from forebay.schemas.portal import partition_of

from .made_up import Made

TOPIC, PARKED = "events", "events.parked"
RECORD = Record(key="portal.bitrix24.example", value=b"", timestamp_ms=1)
PARTITIONS = 12


class Brokers:
    """Answers with topics of so many partitions, or as it is told to."""

    def __init__(self, **partitions: int) -> None:
        self.partitions = partitions
        self.away: Exception | None = None

    async def topics(self, names: Collection[str], answer_s: float = 10.0) -> dict[str, Topic | None]:
        # Long enough for whoever sends meanwhile.
        for _ in range(5):
            await asyncio.sleep(0)
        if self.away is not None:
            raise self.away
        return {name: self._topic(self.partitions.get(name, 0)) for name in names}

    def _topic(self, partitions: int) -> Topic | None:
        return Topic(id="a", partitions=tuple(range(partitions)), leaderless=()) if partitions else None

    async def brokers(self) -> int:
        raise QueueUnavailable("nobody makes a topic here")


class Ingest:
    """What sends, and sees to the streams meanwhile."""

    def __init__(self, brokers: Brokers) -> None:
        self.topics = Topics(cast(Admin, brokers), TOPIC)
        made = Made()
        self.producer = KafkaProducer(cast(Clients, made), self.topics, self.topics.placement)
        [self.client] = made.clients
        self.client.may_report = True

    async def ensure(self, *streams: str) -> "asyncio.Task[list[str]]":
        asking = asyncio.create_task(self.topics.ensure(streams, PARTITIONS))
        await asyncio.sleep(0)
        return asking


@pytest.mark.parametrize("away", [QueueUnavailable("no broker answers"), RuntimeError("no thread")])
async def test_nothing_is_placed_before_the_number_of_partitions_is_known_also_where_nobody_could_say_it(
    away: Exception,
) -> None:
    brokers = Brokers(**{TOPIC: PARTITIONS + 1, PARKED: PARTITIONS})
    brokers.away = away
    ingest = Ingest(brokers)

    # What was in the spool is tried at once. With brokers that are away, the client would keep it, and place it by the
    # topic's own number when they are back.
    asking = await ingest.ensure(TOPIC, PARKED)
    trying = asyncio.create_task(ingest.producer.send(TOPIC, RECORD))
    await asyncio.wait([asking])
    for sent in (trying, ingest.producer.send(TOPIC, RECORD)):
        with pytest.raises(QueueUnavailable):
            await sent
    with pytest.raises((QueueError, type(away))):
        await ingest.producer.check()
    brokers.away = None
    await (await ingest.ensure(TOPIC, PARKED))
    await ingest.producer.send(TOPIC, RECORD)

    assert ingest.client.places == [partition_of(RECORD.key, PARTITIONS)]
    await ingest.producer.close()


async def test_who_asks_again_keeps_no_record_waiting() -> None:
    ingest = Ingest(Brokers(**{TOPIC: PARTITIONS}))

    asking = [await ingest.ensure(TOPIC)]
    before = ingest.topics.placement.is_asking
    await asyncio.wait(asking)
    asking.append(await ingest.ensure(TOPIC))
    again = ingest.topics.placement.is_asking

    assert await asyncio.gather(*asking) == [[], []]
    assert (before, again) == (True, False)
    await ingest.producer.close()


async def test_what_is_there_and_as_it_should_be_takes_records_also_where_another_stream_can_not_be_made() -> None:
    ingest = Ingest(Brokers(**{TOPIC: PARTITIONS}))

    with pytest.raises(QueueUnavailable, match="nobody makes a topic here"):
        await (await ingest.ensure(TOPIC, PARKED))
    await ingest.producer.send(TOPIC, RECORD)
    with pytest.raises(QueueUnavailable, match="nobody makes a topic here"):
        await ingest.producer.send(PARKED, RECORD)

    assert ingest.client.places == [partition_of(RECORD.key, PARTITIONS)]
    await ingest.producer.close()


@pytest.mark.parametrize("added", names.streams(TOPIC))
async def test_what_somebody_has_added_to_one_of_our_topics_counts_for_nobody(added: str) -> None:
    brokers = Brokers(**{**dict.fromkeys(names.streams(TOPIC), PARTITIONS), added: PARTITIONS + 1})
    ingest = Ingest(brokers)

    # As a command asks, which makes nothing.
    asked = [await ingest.topics.placed(stream) for stream in names.streams(TOPIC)]
    missing = await ingest.topics.missing(names.streams(TOPIC), asked[0])
    for stream in names.streams(TOPIC):
        await ingest.producer.send(stream, RECORD)

    assert asked == [PARTITIONS] * len(names.streams(TOPIC))
    assert missing == []
    assert ingest.client.places == [partition_of(RECORD.key, PARTITIONS)] * len(names.streams(TOPIC))
    await ingest.producer.close()


async def test_a_topic_that_is_away_has_no_number_and_others_that_are_away_say_nothing() -> None:
    topics = Topics(cast(Admin, Brokers(**{TOPIC: PARTITIONS})), TOPIC)

    assert await topics.placed(TOPIC) == PARTITIONS
    with pytest.raises(UnknownStream):
        await topics.placed(PARKED)
