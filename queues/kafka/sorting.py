"""The messages of a member's client, sorted: records by their assignment, ends of partitions, and errors."""

from collections.abc import Callable, Sequence
from itertools import groupby

from confluent_kafka import KafkaError, Message

from forebay.queues.contract import StoredRecord

from .leader_epochs import EndLost
from .rebalances import Rebalances
from .records import KafkaRecord

#: Records by partition and the epoch in which they were read.
Read = dict[tuple[int, int], list[StoredRecord]]


class Sorting:
    """Of one client. Used in its member's thread."""

    def __init__(
        self,
        stream: str,
        rebalances: Rebalances,
        tell_of_gap: Callable[[int, int, int, int], object],
        hear_of: Callable[[KafkaError, int | None], None],
    ) -> None:
        self._stream, self._rebalances = stream, rebalances
        self._tell_of_gap, self._hear_of = tell_of_gap, hear_of

    def sort(self, messages: Sequence[Message], read: Read) -> None:
        """Add the records to what was read, which has a list for any assignment; tell of gaps and errors."""
        for partition, run in groupby(messages, Message.partition):
            some = list(run)
            # Nearly never is one an error, and so they are looked at together.
            if any(map(Message.error, some)):
                for message in some:
                    self._sort_one(message, partition, read)
            else:
                self._add(some, partition, read)

    def _sort_one(self, message: Message, partition: int | None, read: Read) -> None:
        error = message.error()
        if error is None:
            self._add([message], partition, read)
        elif error.code() == KafkaError._PARTITION_EOF and partition is not None:
            self._come_to_the_end(message.offset() or 0, partition, read)
        else:
            self._hear_of(error, partition)

    def _add(self, messages: Sequence[Message], partition: int | None, read: Read) -> None:
        # Only an error may have no partition.
        if partition is None or (mine := self._rebalances.ours.get(partition)) is None:
            return
        self._rebalances.begin(partition, mine, messages[0].offset() or 0, has_records=True)
        try:
            new = mine.leaders.new(messages)
        except EndLost as lost:
            self._hear_of(lost.error, partition)
        else:
            if new:
                read[partition, mine.epoch] += [KafkaRecord(message, self._stream, partition) for message in new]

    def _come_to_the_end(self, end: int, number: int, read: Read) -> None:
        """Tell of markers of transactions, and of what compaction took, behind the last record."""
        mine = self._rebalances.ours.get(number)
        if mine is None or mine.leaders.is_lost:
            return
        self._rebalances.begin(number, mine, end, has_records=False)
        batch = read.get((number, mine.epoch))
        start = batch[-1].offset + 1 if batch else mine.place
        if start < end:
            self._tell_of_gap(number, mine.epoch, start, end)
