"""Which partitions are paused: librdkafka does not tell, and does not forget."""

from collections.abc import Sequence

from confluent_kafka import Consumer, TopicPartition


class Pauses:
    """Pauses and resumes, each partition once. Used in the member's thread.

    Only what is being read should be paused or resumed: librdkafka starts a new partition in a thread of its own, and
    drops the start as outdated, in silence, when such a call overtakes it. So a partition that comes during a pause is
    paused with its first record.
    """

    def __init__(self) -> None:
        self._paused: dict[int, TopicPartition] = {}

    def pause(self, client: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Read nothing more of these."""
        paused = [at for at in partitions if at.partition not in self._paused]
        if paused:
            client.pause(paused)
            self._paused.update((at.partition, at) for at in paused)

    def lift(self, client: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Before these go: a pause outlives that, and what comes back would never be read again."""
        resumed = [self._paused.pop(at.partition) for at in partitions if at.partition in self._paused]
        if resumed:
            client.resume(resumed)

    def end(self, client: Consumer) -> None:
        """Read all of them again."""
        self.lift(client, list(self._paused.values()))
