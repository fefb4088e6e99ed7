"""Which leader of a partition has written what: by that it is seen when a cluster has lost a partition's end (KIP-320).

Kafka writes to the disk later than it acknowledges. A power cut, or the election of a copy that was behind, takes the
end of a partition, and what comes next stands where the group was already: read on from there, and it is skipped. But
a later leader has written it. So a commit says who has written the last record that was read, and who goes on from
there reads the record before it again. (librdkafka compares them too, but only when it hears of a new leader: its issue
5158.)
"""

from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError, Message

from .starts import UNKNOWN, Start


class EndLost(Exception):
    """What stands before the place of the group is not what it has finished."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.error = KafkaError(KafkaError._LOG_TRUNCATION, text)


class LeaderEpochs:
    """Of the partitions that a client has, by their assignment. Used in the member's thread."""

    def __init__(self, tell_of_rewriting: Callable[[int, int, int], None]) -> None:
        #: Is told the partition, the assignment's epoch, and from which offset on it was written after the commit.
        self._tell = tell_of_rewriting
        #: By partition and epoch of the assignment: the latest leader of what was read, by the group or here.
        self._latest: dict[tuple[int, int], int] = {}
        #: Assignments of which nothing was read yet, and those where all is as the group left it.
        self._begun: dict[tuple[int, int], Start] = {}
        self._as_left: set[tuple[int, int]] = set()
        #: Where a later leader has written: the one before.
        self._before: dict[tuple[int, int], int] = {}
        #: Assignments that nothing may come of.
        self._lost: dict[tuple[int, int], EndLost] = {}

    def begin(self, partition: int, epoch: int, start: Start) -> None:
        """An assignment begins."""
        self._begun[partition, epoch] = start
        self._latest[partition, epoch] = start.leader
        if start.leader != UNKNOWN:
            self._as_left.add((partition, epoch))

    def new(self, partition: int, epoch: int, messages: Sequence[Message]) -> Sequence[Message]:
        """What of these, which were read next, the group has not finished before.

        Raises `EndLost`, from then on for the whole assignment: what is committed of it still names the leader that the
        next one has to compare with.
        """
        place = partition, epoch
        if (start := self._begun.pop(place, None)) is not None:
            messages = self._compared(place, start, messages)
        elif (lost := self._lost.get(place)) is not None:
            raise lost
        # Leaders change seldom, and no later record is an earlier leader's.
        latest = _leader(messages[-1]) if messages else UNKNOWN
        if latest > self._latest[place]:
            if place in self._as_left:
                self._as_left.discard(place)
                self._before[place] = self._latest[place]
                self._tell(*place, _first_of_later(self._latest[place], messages))
            self._latest[place] = latest
        return messages

    def latest(self, partition: int, epoch: int, *, has_heard: bool = True) -> int:
        """For a commit: who has written the last record that was read.

        Who asked before he `has_heard` of the rewriting has read nothing of the later leader's, and may still say of
        what that has written that it is finished: under the later leader's name nobody would ever compare that.
        """
        place = partition, epoch
        if not has_heard and place in self._before:
            return self._before[place]
        return self._latest.get(place, UNKNOWN)

    def end(self, partition: int, epoch: int) -> None:
        """The assignment is over."""
        place = partition, epoch
        del self._latest[place]
        self._begun.pop(place, None)
        self._lost.pop(place, None)
        self._before.pop(place, None)
        self._as_left.discard(place)

    def clear(self) -> None:
        """Every assignment is over."""
        self._latest.clear()
        self._begun.clear()
        self._lost.clear()
        self._before.clear()
        self._as_left.clear()

    def _compared(self, place: tuple[int, int], start: Start, messages: Sequence[Message]) -> Sequence[Message]:
        """Without the first one, if the group has finished it before."""
        offset, leader = messages[0].offset(), _leader(messages[0])
        if offset is None or offset >= start.commit.offset:
            return messages
        if leader > start.leader:
            self._lost[place] = EndLost(
                f"offset {offset} was written under leader epoch {leader}, and the group has read no further than what "
                f"was written under {start.leader}"
            )
            raise self._lost[place]
        return messages[1:]


def _first_of_later(leader: int, messages: Sequence[Message]) -> int:
    """The offset of the first that a later leader has written."""
    return next(message.offset() or 0 for message in messages if _leader(message) > leader)


def _leader(message: Message) -> int:
    leader = message.leader_epoch()
    return UNKNOWN if leader is None else leader
