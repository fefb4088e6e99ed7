"""Which leader of a partition has written what: by that it is seen when a cluster has lost a partition's end (KIP-320).

Kafka writes to the disk later than it acknowledges. A power cut, or the election of a copy that was behind, takes the
end of a partition, and what comes next stands where the group was already: read on from there, and it is skipped. But
a later leader has written it. So a commit says who has written the last record that was read, and who goes on from
there reads the record before it again. (librdkafka compares them too, but only when it hears of a new leader: its issue
5158.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, Message

from .starts import UNKNOWN, Start


class EndLost(Exception):
    """What stands before the place of the group is not what it has finished."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.error = KafkaError(KafkaError._LOG_TRUNCATION, text)


@dataclass(slots=True)
class _Reading:
    """What is known of one assignment."""

    #: The latest leader of what was read, by the group or here.
    latest: int
    #: Where it begins, until something of it was read.
    start: Start | None
    #: Whether all is as the group left it: a later leader that writes there is to be told of.
    is_as_left: bool
    #: Where a later leader has written: the one before.
    before: int | None = None
    #: Why nothing may come of it.
    lost: EndLost | None = None


class LeaderEpochs:
    """Of the partitions that a client has, by their assignment. Used in the member's thread."""

    def __init__(self, tell_of_rewriting: Callable[[int, int, int], object]) -> None:
        #: Is told the partition, the assignment's epoch, and from which offset on it was written after the commit.
        self._tell = tell_of_rewriting
        #: By partition and epoch of the assignment.
        self._readings: dict[tuple[int, int], _Reading] = {}

    def begin(self, partition: int, epoch: int, start: Start) -> None:
        """An assignment begins."""
        self._readings[partition, epoch] = _Reading(start.leader, start, is_as_left=start.leader != UNKNOWN)

    def new(self, partition: int, epoch: int, messages: Sequence[Message]) -> Sequence[Message]:
        """What of these, which were read next, the group has not finished before.

        Raises `EndLost`, from then on for the whole assignment: what is committed of it still names the leader that the
        next one has to compare with.
        """
        reading = self._readings[partition, epoch]
        if (start := reading.start) is not None:
            reading.start = None
            if _is_finished(start, messages[0]):
                reading.lost = _lost(start, messages[0])
                messages = messages[1:]
        if reading.lost is not None:
            raise reading.lost
        # Leaders change seldom, and no later record is an earlier leader's.
        latest = _leader(messages[-1]) if messages else UNKNOWN
        if latest > reading.latest:
            if reading.is_as_left:
                reading.is_as_left, reading.before = False, reading.latest
                self._tell(partition, epoch, _first_of_later(reading.latest, messages))
            reading.latest = latest
        return messages

    def latest(self, partition: int, epoch: int, *, has_heard: bool = True) -> int:
        """For a commit: who has written the last record that was read.

        Who asked before he `has_heard` of the rewriting has read nothing of the later leader's, and may still say of
        what that has written that it is finished: under the later leader's name nobody would ever compare that.
        """
        reading = self._readings.get((partition, epoch))
        if reading is None:
            return UNKNOWN
        return reading.latest if has_heard or reading.before is None else reading.before

    def end(self, partition: int, epoch: int) -> None:
        """The assignment is over."""
        del self._readings[partition, epoch]

    def clear(self) -> None:
        """Every assignment is over."""
        self._readings.clear()


def _is_finished(start: Start, first: Message) -> bool:
    """Whether the group has finished the first record that was read."""
    offset = first.offset()
    return offset is not None and offset < start.commit.offset


def _lost(start: Start, first: Message) -> EndLost | None:
    if _leader(first) <= start.leader:
        return None
    return EndLost(
        f"offset {first.offset()} was written under leader epoch {_leader(first)}, and the group has read no further "
        f"than what was written under {start.leader}"
    )


def _first_of_later(leader: int, messages: Sequence[Message]) -> int:
    """The offset of the first that a later leader has written."""
    return next(message.offset() or 0 for message in messages if _leader(message) > leader)


def _leader(message: Message) -> int:
    leader = message.leader_epoch()
    return UNKNOWN if leader is None else leader
