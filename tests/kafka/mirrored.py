"""Another cluster's copy of topics, as MirrorMaker 2 makes it: record by record, and with what groups committed."""

from collections.abc import Iterable, Iterator

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from forebay.schemas import names

#: Where there is none, nothing more comes.
_WAIT_S = 10.0


def mirror(
    bootstrap: str, source: str, target: str, *, without: int = 0, events: int = 0, twice: Iterable[int] = ()
) -> None:
    """Copy the first partition of each of the topic's streams, and the place of the group that has its name.

    The copy began `without` the first records of each, and without so many more `events`, which retention had taken;
    of those at the offsets `twice` there is a second one, as a mirror that was restarted leaves them.
    """
    place = committed(bootstrap, source)
    at: dict[int, int] = {}
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0, "acks": "all"})
    for stream, copy in zip(names.streams(source), names.streams(target), strict=True):
        end = 0
        for record in list(records(bootstrap, stream))[without + events * (stream == source) :]:
            offset = record.offset() or 0
            again = stream == source and offset in twice
            if stream == source:
                at[offset] = end
            for _ in range(1 + again):
                producer.produce(
                    copy,
                    record.value(),
                    record.key(),
                    0,
                    timestamp=record.timestamp()[1],
                    headers=record.headers() or [],
                )
            end += 1 + again
        assert not producer.flush(30)
    # Never further than the group is, and with what it has said beside its offset.
    there = at.get(place.offset, at.get(place.offset - 1, -1) + 1)
    moved = TopicPartition(target, 0, there, place.metadata or "")
    with AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}) as client:
        for one in client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(source, [moved])]).values():
            one.result(30)


def end_source(bootstrap: str, source: str) -> None:
    """In the other cluster nothing of the first is there."""
    with AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}) as client:
        for one in client.delete_topics(list(names.streams(source))).values():
            one.result(30)


def committed(bootstrap: str, topic: str) -> TopicPartition:
    """Where the group of the topic's name is in its first partition."""
    client = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "log_level": 0})
    try:
        return client.committed([TopicPartition(topic, 0)], timeout=10)[0]
    finally:
        client.close()


def records(bootstrap: str, topic: str) -> Iterator[Message]:
    """All that the first partition has."""
    client = Consumer({"bootstrap.servers": bootstrap, "group.id": f"mirror-{topic}", "log_level": 0})
    try:
        _, end = client.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
        client.assign([TopicPartition(topic, 0, 0)])
        read = 0
        while read < end:
            record = client.poll(_WAIT_S)
            assert record is not None and record.error() is None, f"{topic}: {read} of {end} records"
            yield record
            read = (record.offset() or 0) + 1
    finally:
        client.close()
