"""Clients of librdkafka in a group, made up, that do in any order whatever the real ones may do."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from forebay.queues.kafka.faults import Faults

from .fetching import PARTITIONS, Fetching
from .memberships import NO_BROKERS, STREAM

if TYPE_CHECKING:
    from .groups import Group

#: The group has no place yet, as librdkafka says it.
_NOWHERE = -1001


@dataclass(frozen=True, slots=True)
class At:
    """A partition in an answer; librdkafka's own can't be made with an error."""

    topic: str
    partition: int
    offset: int
    error: KafkaError | None = None
    metadata: str | None = None
    leader_epoch: int | None = None


class Client(Fetching):
    """Does nothing by itself: `give`, `arrive` and the like are for the tests."""

    def __init__(self, group: "Group", protocol: str, faults: Faults, on_commit: Any, on_statistics: Any) -> None:
        super().__init__(group)
        self._protocol, self._faults = protocol, faults
        self._report, self._told = on_commit, on_statistics
        self._on: dict[str, Callable[..., None]] = {}
        #: What the group has given it, as far as it knows.
        self.owned: set[int] = set()
        self.is_member, self.is_left = True, False
        #: Commits on their way to the broker, and in which membership they were sent.
        self._sent: deque[tuple[int, list[TopicPartition]]] = deque()
        self._memberships = 1
        self._is_regrouping = self._was_member = self._is_expired = False

    # As librdkafka's.

    def subscribe(self, streams: list[str], **on: Callable[..., None]) -> None:
        self._on = on

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[At]:
        if self._group.silences or self.is_stranded:
            self._group.silences = max(self._group.silences - 1, 0)
            self._group.meanwhile(timeout)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        self._group.meanwhile(0)
        places, leaders = self._group.places, self._group.leaders
        return [
            At(STREAM, at.partition, places.get(at.partition, _NOWHERE), leader_epoch=leaders.get(at.partition))
            for at in partitions
        ]

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[At]:
        for at in offsets:
            assert at.partition in self.readings or self.is_dead
            assert (at.partition, at.offset) in self._group.asked
        if asynchronous:
            self._sent.append((self._memberships, offsets))
            return []
        self._group.meanwhile(0)
        if self.is_stranded:
            self._group.meanwhile(5)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        while self._sent:
            self.arrive()
        error, answered = self._group.commit(self, offsets, is_member=self.is_member)
        if error is not None:
            raise KafkaException(error)
        return answered

    def incremental_assign(self, partitions: Sequence[TopicPartition]) -> None:
        # Who was left takes nothing over.
        assert not (partitions and self.is_left)
        super().incremental_assign(partitions)
        if self.is_dead:
            super().incremental_unassign(self.assignment())

    def close(self) -> None:
        """What it has goes back, and what the group said before is heard: but not after an error that is fatal."""
        self.is_ending = True
        if not self.is_dead:
            for message in self._served():
                del message
            if self.owned:
                is_unaware = self.is_member or self.is_stranded or self._is_expired
                self._go("on_revoke" if is_unaware else "on_lost", self.owned)
        self._be_out()
        self.is_closed = True

    # What it and its broker do.

    def complain(self) -> None:
        self._queue.append(lambda: self._faults.note(KafkaError(KafkaError._ALL_BROKERS_DOWN)))

    def refuse(self, code: int) -> None:
        """Let it not become a member, or be none any more: it can't be used again. It may hear before what it lost."""
        if self.is_dead or self.is_closed or (code == KafkaError.UNSUPPORTED_VERSION and self._protocol != "consumer"):
            return
        self.is_dead = True
        self._be_out()
        text = f"Fatal error: {KafkaError(code).str()}: ConsumerGroupHeartbeat fatal error"
        self._queue.append(lambda: self._tell_of_the_end(code))
        self._queue.append(Message(error=KafkaError(KafkaError._FATAL, text)))
        if self.owned and not self._is_regrouping:
            self._regroup("on_lost", self.owned)

    def _tell_of_the_end(self, code: int) -> None:
        # What comes while it says goodbye nobody hears: of two under one name the other ends then.
        if not self.is_left:
            self._group.tell_of_the_end(code)

    def arrive(self) -> None:
        """Let the broker have the next commit. Its report comes before what was read."""
        if self._sent and not self.is_stranded:
            membership, offsets = self._sent.popleft()
            is_member = self.is_member and membership == self._memberships
            error, answered = self._group.commit(self, offsets, is_member=is_member)
            reports = len(list(takewhile(lambda one: not isinstance(one, Message), self._queue)))
            self._queue.insert(reports, lambda: self._report(error, answered))

    def give(self, numbers: Iterable[int]) -> None:
        """Let the group give it what nobody has."""
        given = set(numbers) - self._group.owners.keys()
        if given and self._may_regroup:
            self._group.owners.update(dict.fromkeys(given, self))
            self._was_member = True
            self._regroup("on_assign", given)

    def ask_back(self, numbers: Iterable[int]) -> None:
        """Let the group have it back."""
        if (asked := self.owned & set(numbers)) and self._may_regroup:
            self._regroup("on_revoke", asked)

    def throw_out(self) -> None:
        """Let the group go on without it. It hears of that."""
        if self._may_hear and self.owned:
            self._be_out()
            self._regroup("on_lost", set(self.owned))
        elif self._may_hear:
            self._be_in_again()

    def hear(self) -> None:
        """Let it hear what it does not know yet."""
        if not self.is_member:
            self.throw_out()

    def expire(self) -> None:
        """Let the group go on without it. It does not hear of that before it is thrown out."""
        if self.is_member and self._was_member:
            self._be_out()
            self._is_expired = True

    def strand(self) -> None:
        """Lose every broker, and so the place in the group."""
        if self._was_member:
            self.is_stranded = True
            self._be_out()
            for _ in range(2):
                self._queue.append(lambda: self._told(NO_BROKERS))

    def work(self) -> None:
        """All of it, as when all is well."""
        while self._sent and not self.is_stranded:
            self.arrive()
        for number in PARTITIONS:
            self.begin(number)
            self.fetch(number)

    @property
    def _may_regroup(self) -> bool:
        return self.is_member and self._may_hear

    @property
    def _may_hear(self) -> bool:
        is_over = self.is_dead or self.is_stranded or self.is_closed or self.hangs
        return not self._is_regrouping and not is_over

    def _regroup(self, what: str, numbers: set[int]) -> None:
        self._is_regrouping = True
        self._queue.append(lambda: self._go(what, numbers))

    def _go(self, what: str, numbers: set[int]) -> None:
        numbers = set(numbers)
        self._on[what](self, [TopicPartition(STREAM, number) for number in sorted(numbers)])
        self._is_regrouping = False
        if what == "on_assign":
            self.owned |= numbers
            return
        self.owned -= numbers
        self._disown(numbers)
        if what == "on_lost":
            # With its next heartbeat it is one again.
            self._be_in_again()

    def _be_in_again(self) -> None:
        self.is_member = not self.is_dead
        self._is_expired = False
        self._memberships += 1

    def _be_out(self) -> None:
        self.is_member, self._group.has_parted = False, True
        self._disown(PARTITIONS)

    def _disown(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if self._group.owners.get(number) is self:
                del self._group.owners[number]
