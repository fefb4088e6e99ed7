"""What a member has let go: for itself at once, for the others when it is written, and read by them."""

from collections.abc import Callable, KeysView, Mapping

from forebay.queues.errors import QueueUnavailable

from . import group as entries


class Releases:
    """Those of one member."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        #: Partition → the epoch under which it was ours, until the stream says that it is not.
        self._epochs: dict[int, int] = {}
        #: Of these, what may not be there.
        self._unwritten: set[int] = set()

    @property
    def partitions(self) -> KeysView[int]:
        """Those that the stream still calls ours."""
        return self._epochs.keys()

    def add(self, me: str, partition: int, epoch: int) -> None:
        """Let it go, and say so, now or soon."""
        self._epochs[partition] = epoch
        try:
            self._write(entries.release(me, {partition: epoch}))
        except QueueUnavailable:
            self._unwritten.add(partition)

    def read(self, me: str, ours: Mapping[int, int]) -> None:
        """This is ours by the stream. Say once more what may not be there. Raises `QueueUnavailable`."""
        self._epochs = {partition: epoch for partition, epoch in self._epochs.items() if ours.get(partition) == epoch}
        if again := {partition: epoch for partition, epoch in self._epochs.items() if partition in self._unwritten}:
            self._write(entries.release(me, again))
        self._unwritten.clear()

    def refused(self) -> None:
        """What we wrote last may not be there."""
        self._unwritten.update(self._epochs)

    def begin(self) -> None:
        """From now on they are somebody else's."""
        self._epochs.clear()
        self._unwritten.clear()
