"""Where the reading of a partition begins."""

from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from forebay.queues.contract import Commit

from .faults import cause
from .notes import Notes

#: The brokers' time to answer; the caller asks again.
_ANSWER_S = 5.0

#: The same for the beginnings, and the ends: a partition whose leader is away must not hold up the others.
_FIRSTS_S = 1.0

#: A leader that is not known, as in Kafka's protocol.
UNKNOWN = -1

#: A place that is not known: the client finds the first record by itself, once the partition's leader answers.
FIRST = OFFSET_BEGINNING

#: How it is told that nobody answers, or that there is no leader.
_SILENT = frozenset({KafkaError._TIMED_OUT, KafkaError._UNKNOWN_PARTITION, KafkaError.LEADER_NOT_AVAILABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where the group is, and who has written the last record that it read."""

    commit: Commit
    leader: int = UNKNOWN
    #: Whether the record before its place is still there, to be read again.
    is_read_again: bool = False

    def place(self, stream: str, partition: int) -> TopicPartition:
        """From where on to read."""
        return TopicPartition(stream, partition, self.commit.offset - self.is_read_again, leader_epoch=self.leader)


def starts(client: Consumer, partitions: Sequence[TopicPartition], notes: Notes) -> dict[int, Start]:
    """The group's commits; a partition that has none begins at its first record. Raises `KafkaException`."""
    committed = client.committed(list(partitions), timeout=_ANSWER_S)
    for at in committed:
        if at.error is not None:
            raise KafkaException(at.error)
    places = [at for at in committed if at.offset >= 0]
    firsts = _firsts(client, [at for at in places if at.leader_epoch is not None])
    found = {at.partition: _start(at, firsts, notes) for at in places}
    return found | _beginnings(client, [at for at in committed if at.offset < 0])


def _firsts(client: Consumer, places: Sequence[TopicPartition]) -> dict[int, int]:
    """The first offset of each partition that is known just now."""
    asked = [TopicPartition(at.topic, at.partition, OFFSET_BEGINNING) for at in places]
    try:
        found = client.offsets_for_times(asked, timeout=_FIRSTS_S) if asked else []
    except KafkaException:
        # Read on without: the client compares the leaders itself when it hears of a new one.
        return {}
    return {at.partition: at.offset for at in found if at.error is None}


def _start(at: TopicPartition, firsts: dict[int, int], notes: Notes) -> Start:
    leader = UNKNOWN if at.leader_epoch is None else at.leader_epoch
    is_read_again = firsts.get(at.partition, at.offset) < at.offset
    return Start(commit=Commit(offset=at.offset, note=notes.of(at)), leader=leader, is_read_again=is_read_again)


def _beginnings(client: Consumer, new: Sequence[TopicPartition]) -> dict[int, Start]:
    """The first record of each. Where a leader does not answer, nobody waits for that, nor for others after it."""
    found = {at.partition: Start(commit=Commit(offset=FIRST)) for at in new}
    for at in new:
        try:
            first, end = client.get_watermark_offsets(TopicPartition(at.topic, at.partition), timeout=_FIRSTS_S)
        except KafkaException as error:
            if cause(error).code() in _SILENT:
                break
            raise
        # Its number and not "the beginning": from here on the group has a place, and never starts over by itself.
        found[at.partition] = Start(commit=Commit(offset=first, is_reset=first < end))
    return found
