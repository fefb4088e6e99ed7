"""Which leader of a partition has written what: by that it is seen when a cluster has lost a partition's end (KIP-320).

Kafka writes to the disk later than it acknowledges. A power cut, or the election of a copy that was behind, takes the
end of a partition, and what comes next stands where the group was already: read on from there, and it is skipped. But
a later leader has written it. So a commit says whose the last record before it was, and who goes on from there reads
that record again. (librdkafka compares them too, but only when it hears of a new leader: its issue 5158.)
"""

from collections.abc import Sequence

from confluent_kafka import KafkaError, Message

from .starts import UNKNOWN, Start


class EndLost(Exception):
    """What stands before the place of the group is not what it has finished."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.error = KafkaError(KafkaError._LOG_TRUNCATION, text)


class LeaderEpochs:
    """Of the partitions that a client has, by their assignment. Used in the member's thread."""

    def __init__(self) -> None:
        #: By partition and epoch of the assignment: from which offset on, and which leader.
        self._terms: dict[tuple[int, int], list[tuple[int, int]]] = {}
        #: Assignments of which nothing was read yet.
        self._begun: dict[tuple[int, int], Start] = {}

    def begin(self, partition: int, epoch: int, start: Start) -> None:
        """An assignment begins."""
        self._begun[partition, epoch] = start
        self._terms[partition, epoch] = [(start.commit.offset - 1, start.leader)]

    def new(self, partition: int, epoch: int, messages: Sequence[Message]) -> Sequence[Message]:
        """What of these, which were read next, the group has not finished before. Raises `EndLost`."""
        terms = self._terms[partition, epoch]
        if (start := self._begun.pop((partition, epoch), None)) is not None:
            messages = _compared(start, messages)
        # Leaders change seldom, and no later record is an earlier leader's.
        if messages and messages[-1].leader_epoch() not in (terms[-1][1], None):
            for message in messages:
                leader, offset = message.leader_epoch(), message.offset()
                if leader not in (terms[-1][1], None) and offset is not None:
                    terms.append((offset, leader))
        return messages

    def before(self, partition: int, epoch: int, offset: int) -> int:
        """Whose the last record before the offset is, of which no lower one will be asked."""
        terms = self._terms.get((partition, epoch), [])
        while len(terms) > 1 and terms[1][0] < offset:
            del terms[0]
        return terms[0][1] if terms and terms[0][0] < offset else UNKNOWN

    def end(self, partition: int, epoch: int) -> None:
        """The assignment is over."""
        del self._terms[partition, epoch]
        self._begun.pop((partition, epoch), None)

    def clear(self) -> None:
        """Every assignment is over."""
        self._terms.clear()
        self._begun.clear()


def _compared(start: Start, messages: Sequence[Message]) -> Sequence[Message]:
    """Without the first one, if the group has finished it before."""
    offset, leader = messages[0].offset(), messages[0].leader_epoch()
    if offset is None or offset >= start.commit.offset:
        return messages
    if leader is not None and leader > start.leader:
        raise EndLost(
            f"offset {offset} was written under leader epoch {leader}, and what the group has finished there under "
            f"{start.leader}"
        )
    return messages[1:]
