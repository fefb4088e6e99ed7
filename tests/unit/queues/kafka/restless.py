"""Clients of librdkafka in a group, made up, that do in any order whatever the real ones may do."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from forebay.queues.kafka.faults import Faults

from .memberships import NO_BROKERS, STREAM

if TYPE_CHECKING:
    from .groups import Group

PARTITIONS = range(3)

#: The group has no place yet, as librdkafka says it.
_NOWHERE = -1001

#: What librdkafka calls in the thread that polls it.
Call = Callable[[], None]


@dataclass(frozen=True, slots=True)
class At:
    """A partition in an answer; librdkafka's own can't be made with an error."""

    topic: str
    partition: int
    offset: int
    error: KafkaError | None = None
    metadata: str | None = None


@dataclass(slots=True)
class Reading:
    """A partition that a client reads: up to where it has fetched, and up to where that was polled."""

    fetched: int
    polled: int
    #: It begins in a thread of the client's, and never when a pause or its end comes before that.
    is_begun: bool = False
    is_dropped: bool = False
    #: Where it was last said to end.
    end: int | None = None


class Client:
    """Does nothing by itself: `begin`, `fetch`, `arrive` and the like are for the tests."""

    def __init__(self, group: "Group", protocol: str, faults: Faults, on_commit: Any, on_statistics: Any) -> None:
        self._group, self._protocol, self._faults = group, protocol, faults
        self._report, self._told = on_commit, on_statistics
        self._on: dict[str, Callable[..., None]] = {}
        self.readings: dict[int, Reading] = {}
        #: A pause outlives an assignment.
        self.paused: set[int] = set()
        #: What the group has given it, as far as it knows.
        self.owned: set[int] = set()
        self.is_member, self.is_stranded, self.hangs, self.is_closed = True, False, False, False
        self._queue: deque[Message | Call] = deque()
        #: Commits on their way to the broker, and in which membership they were sent.
        self._sent: deque[tuple[int, list[TopicPartition]]] = deque()
        self._memberships = 1
        self._is_regrouping = self._was_member = self._is_refused = False

    # As librdkafka's.

    def subscribe(self, streams: list[str], **on: Callable[..., None]) -> None:
        self._on = on

    def poll(self, timeout: float) -> Message | None:
        self._group.meanwhile(0 if self._queue else timeout)
        return next(self._served(), None)

    def consume(self, most: int, timeout: float) -> list[Message]:
        # What was taken before a partition went is given all the same.
        found = list(islice(self._served(), most))
        self._group.meanwhile(0)
        return found

    def _served(self) -> Iterator[Message]:
        assert not self.is_closed
        while self._queue:
            one = self._queue.popleft()
            if isinstance(one, Message):
                if one.error() is None:
                    self.readings[_number(one)].polled = (one.offset() or 0) + 1
                yield one
            else:
                one()

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(STREAM, number) for number in self.readings]

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[At]:
        if self._group.silences or self.is_stranded:
            self._group.silences = max(self._group.silences - 1, 0)
            self._group.meanwhile(timeout)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        self._group.meanwhile(0)
        return [At(STREAM, at.partition, self._group.places.get(at.partition, _NOWHERE)) for at in partitions]

    def get_watermark_offsets(self, at: TopicPartition, timeout: float) -> tuple[int, int]:
        return 0, self._group.ends[at.partition]

    def offsets_for_times(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self._group.meanwhile(timeout)
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[At]:
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
        for at in partitions:
            assert at.partition not in self.readings
            self.readings[at.partition] = Reading(at.offset, at.offset)

    def incremental_unassign(self, partitions: Sequence[TopicPartition]) -> None:
        for at in partitions:
            self.readings.pop(at.partition, None)
            self._purge(at.partition)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        self.paused |= {at.partition for at in partitions}
        self._interrupt(partitions)

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        self.paused -= {at.partition for at in partitions}
        self._interrupt(partitions)

    def _interrupt(self, partitions: Sequence[TopicPartition]) -> None:
        """Read anew what nobody has polled."""
        for at in partitions:
            self._purge(at.partition)
            if (reading := self.readings.get(at.partition)) is not None:
                reading.is_dropped = reading.is_dropped or not reading.is_begun
                reading.fetched, reading.end = reading.polled, None

    def _purge(self, number: int) -> None:
        self._queue = deque(one for one in self._queue if not isinstance(one, Message) or one.partition() != number)

    def close(self) -> None:
        """What it has goes back, and what the group said before is heard."""
        for message in self._served():
            del message
        if self.owned:
            self._go("on_revoke" if self.is_member or self.is_stranded else "on_lost", self.owned)
        self._be_out()
        self.is_closed = True

    # What it and its broker do.

    def begin(self, number: int) -> None:
        """Read from the start that was given."""
        if (reading := self.readings.get(number)) is not None:
            reading.is_begun = not reading.is_dropped

    def fetch(self, number: int, most: int = 100) -> None:
        """Have the next records, and where they are the last, the end of the log."""
        reading = self.readings.get(number)
        if reading is None or not reading.is_begun or number in self.paused or self.is_stranded or self.hangs:
            return
        found = [offset for offset in self._group.log[number] if offset >= reading.fetched][:most]
        for offset in found:
            self._queue.append(Message(topic=STREAM, partition=number, offset=offset, key=b"k", value=b""))
            reading.fetched = offset + 1
        end = self._group.ends[number]
        if not any(offset >= reading.fetched for offset in self._group.log[number]) and reading.end != end:
            reading.fetched = reading.end = end
            self.err(number, KafkaError._PARTITION_EOF, end)

    def err(self, number: int, code: int = KafkaError.TOPIC_AUTHORIZATION_FAILED, offset: int = 0) -> None:
        """Say so among the records."""
        if number in self.readings:
            self._queue.append(Message(topic=STREAM, partition=number, offset=offset, error=KafkaError(code)))

    def complain(self) -> None:
        self._queue.append(lambda: self._faults.note(KafkaError(KafkaError._ALL_BROKERS_DOWN)))

    def refuse(self, code: int) -> None:
        """Let it not become a member."""
        if not self._was_member and (code != KafkaError.UNSUPPORTED_VERSION or self._protocol == "consumer"):
            self._is_refused = True
            self._queue.append(lambda: self._faults.note(KafkaError(KafkaError._FATAL, KafkaError(code).str(), True)))

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
        if self._may_regroup and self.owned:
            self._be_out()
            self._regroup("on_lost", set(self.owned))

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
        is_over = self._is_refused or self.is_stranded or self.is_closed or self.hangs
        return self.is_member and not self._is_regrouping and not is_over

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
            self.is_member = True
            self._memberships += 1

    def _be_out(self) -> None:
        self.is_member, self._group.has_parted = False, True
        self._disown(PARTITIONS)

    def _disown(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if self._group.owners.get(number) is self:
                del self._group.owners[number]


def _number(message: Message) -> int:
    number = message.partition()
    assert number is not None
    return number
