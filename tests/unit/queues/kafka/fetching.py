"""What a made-up client of librdkafka reads, in any order in which the real one may."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from .memberships import STREAM

if TYPE_CHECKING:
    from .groups import Group

PARTITIONS = range(3)

#: What librdkafka calls in the thread that polls it.
Call = Callable[[], None]


@dataclass(slots=True)
class Reading:
    """A partition that a client reads: up to where it has fetched, and up to where that was polled."""

    fetched: int
    polled: int
    #: It begins in a thread of the client's, and never when a pause or its end comes before that.
    is_begun: bool = False
    is_dropped: bool = False
    #: Nothing stands where it would go on, and it never does.
    is_nowhere: bool = False
    #: Where it was last said to end.
    end: int | None = None


class Fetching:
    """What it has and has not read. Does nothing by itself: `begin`, `fetch` and `err` are for the tests."""

    def __init__(self, group: "Group") -> None:
        self._group = group
        self.readings: dict[int, Reading] = {}
        #: A pause outlives an assignment.
        self.paused: set[int] = set()
        self.is_stranded = self.hangs = self.is_dead = self.is_ending = self.is_closed = False
        self._queue: deque[Message | Call] = deque()
        #: By the last `consume`.
        self._taken: list[Message] = []

    # As librdkafka's.

    def poll(self, timeout: float) -> Message | None:
        self._group.meanwhile(0 if self._queue else timeout)
        return next(self._served(), None)

    def consume(self, most: int, timeout: float) -> list[Message]:
        # What was taken before a partition went is given all the same, unless it has come again meanwhile.
        self._taken = []
        for message in islice(self._served(), most):
            self._taken.append(message)
        self._group.meanwhile(0)
        return self._taken

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

    def get_watermark_offsets(self, at: TopicPartition, timeout: float) -> tuple[int, int]:
        if at.partition in self._group.far:
            self._group.meanwhile(timeout)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return self._group.starts[at.partition], self._group.ends[at.partition]

    def offsets_for_times(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        if self._group.silences or any(at.offset != OFFSET_BEGINNING for at in partitions):
            self._group.meanwhile(timeout)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        self._group.meanwhile(0)
        return [TopicPartition(STREAM, at.partition, self._group.starts[at.partition]) for at in partitions]

    def incremental_assign(self, partitions: Sequence[TopicPartition]) -> None:
        for at in partitions:
            assert at.partition not in self.readings
            self.readings[at.partition] = Reading(at.offset, at.offset)
            self._taken = [message for message in self._taken if _stays(message, at.partition)]

    def incremental_unassign(self, partitions: Sequence[TopicPartition]) -> None:
        # One that ends, in whatever way, takes any such call for the end of all that it has.
        assert self.is_dead or self.is_ending or all(at.partition in self.readings for at in partitions)
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
        self._queue = deque(one for one in self._queue if not isinstance(one, Message) or _stays(one, number))

    # What it does in threads of its own.

    def begin(self, number: int) -> None:
        """Read from the start that was given, or from the first record, once its leader answers."""
        if (reading := self.readings.get(number)) is not None and number not in self._group.far:
            reading.is_begun = not reading.is_dropped
            if reading.is_begun and reading.fetched == OFFSET_BEGINNING:
                reading.fetched = reading.polled = self._group.starts[number]

    def fetch(self, number: int, most: int = 100) -> None:
        """Have the next records, and where they are the last, the end of the log."""
        reading = self.readings.get(number)
        is_over = self.is_stranded or self.hangs or self.is_dead
        if reading is None or not reading.is_begun or number in self.paused | self._group.far or is_over:
            return
        if not self._group.starts[number] <= reading.fetched <= self._group.ends[number]:
            self._come_to_nowhere(number, reading)
            return
        found = [offset for offset in self._group.log[number] if offset >= reading.fetched][:most]
        for offset in found:
            leader = self._group.topics[-1].leader(number, offset)
            made = Message(topic=STREAM, partition=number, offset=offset, key=b"k", value=b"", leader_epoch=leader)
            self._queue.append(made)
            reading.fetched = offset + 1
        end = self._group.ends[number]
        if not any(offset >= reading.fetched for offset in self._group.log[number]) and reading.end != end:
            reading.fetched = reading.end = end
            self.err(number, KafkaError._PARTITION_EOF, end)

    def _come_to_nowhere(self, number: int, reading: Reading) -> None:
        if not reading.is_nowhere:
            reading.is_nowhere = self._group.has_nowhere = True
            self.err(number, KafkaError._AUTO_OFFSET_RESET)

    def err(self, number: int, code: int, offset: int = 0) -> None:
        """Say so among the records."""
        if number in self.readings:
            self._queue.append(Message(topic=STREAM, partition=number, offset=offset, error=KafkaError(code)))


def _stays(message: Message, number: int) -> bool:
    """Records and ends are outdated with their partition's pause or end. Errors are not."""
    error = message.error()
    is_outdated = error is None or error.code() == KafkaError._PARTITION_EOF
    return message.partition() != number or not is_outdated


def _number(message: Message) -> int:
    number = message.partition()
    assert number is not None
    return number
