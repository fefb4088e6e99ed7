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
    """Of one assignment of a partition. Used in the member's thread."""

    def __init__(self, start: Start, tell_of_rewriting: Callable[[int], object]) -> None:
        #: Is told from which offset on the partition was written after the commit.
        self._tell = tell_of_rewriting
        #: Where it begins, until something of it was read.
        self._start: Start | None = start
        #: The latest leader of what was read, by the group or here.
        self._latest = start.leader
        #: Whether all is as the group left it: a later leader that writes there is to be told of.
        self._is_as_left = start.leader != UNKNOWN
        #: Where a later leader has written: the one before.
        self._before: int | None = None
        #: Why nothing may come of it.
        self._lost: EndLost | None = None

    def new(self, messages: Sequence[Message]) -> Sequence[Message]:
        """What of these, which were read next, the group has not finished before.

        Raises `EndLost`, from then on: what is committed still names the leader that the next one has to compare with.
        """
        if self._start is not None:
            start, self._start = self._start, None
            if _is_finished(start, messages[0]):
                self._lost = _lost(start, messages[0])
                messages = messages[1:]
        if self._lost is not None:
            raise self._lost
        # Leaders change seldom, and no later record is an earlier leader's.
        latest = _leader(messages[-1]) if messages else UNKNOWN
        if latest > self._latest:
            if self._is_as_left:
                self._is_as_left, self._before = False, self._latest
                self._tell(_first_of_later(self._latest, messages))
            self._latest = latest
        return messages

    @property
    def is_lost(self) -> bool:
        """Whether nothing may come of it any more: what stands there is withheld, and is no gap."""
        return self._lost is not None

    def latest(self, *, has_heard: bool) -> int:
        """For a commit: who has written the last record that was read.

        Who asked before he `has_heard` of the rewriting has read nothing of the later leader's, and may still say of
        what that has written that it is finished: under the later leader's name nobody would ever compare that.
        """
        return self._latest if has_heard or self._before is None else self._before


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
