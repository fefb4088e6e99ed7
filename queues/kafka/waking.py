"""Wakes the threads of a client that sleep although they may read.

While partitions are paused, by us or in each rebalance by librdkafka itself, all of them, the thread that reads from a
broker has nothing to do, and looks again after a second: nobody tells it that they are resumed. What it must send wakes
it, whatever that is.
"""

from collections.abc import Callable
from contextlib import suppress

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

#: A question may come before a thread may read again; so it is asked several times, with so much in between.
_TIMES = 3
_AGAIN_S = 0.05

#: Nobody needs the answer. With brokers that hang it must not hold up the member.
_ANSWER_S = 0.02


class Waking:
    """Used in the member's thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left, self._next_at = 0, 0.0

    def note(self) -> None:
        """Partitions were paused, and are read again."""
        self._left, self._next_at = _TIMES, self._clock()

    def look(self, client: Consumer) -> None:
        """Ask each broker that leads some of the client's partitions where they end, if it is time to."""
        if not self._left or self._clock() < self._next_at:
            return
        self._left, self._next_at = self._left - 1, self._clock() + _AGAIN_S
        with suppress(KafkaException):
            asked = [TopicPartition(at.topic, at.partition, OFFSET_END) for at in client.assignment()]
            if asked:
                client.offsets_for_times(asked, timeout=_ANSWER_S)
