"""Where the reading of a partition begins."""

from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from forebay.queues.contract import Commit

from . import notes

#: The brokers' time to answer; the caller asks again.
_ANSWER_S = 5.0


def committed(client: Consumer, partitions: Sequence[TopicPartition]) -> dict[int, Commit]:
    """The group's commits; a partition that has none begins at its first record. Raises `KafkaException`."""
    return {at.partition: _commit(client, at) for at in client.committed(list(partitions), timeout=_ANSWER_S)}


def _commit(client: Consumer, at: TopicPartition) -> Commit:
    if at.error is not None:
        raise KafkaException(at.error)
    if at.offset >= 0:
        return Commit(offset=at.offset, note=notes.of(at))
    # Its number and not "the beginning": from here on the group has a place, and never starts over by itself.
    first, end = client.get_watermark_offsets(TopicPartition(at.topic, at.partition), timeout=_ANSWER_S)
    return Commit(offset=first, is_reset=first < end)
