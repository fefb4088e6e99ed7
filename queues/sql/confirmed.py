"""How far the database has said that a member is: under its epoch nobody else writes that, and it never sinks."""

from collections.abc import Collection, Mapping


class Confirmed:
    """Of one member. What says less was set back: a backup was restored, or a copy that lacked something took over.

    Any thread may use it. A commit of which the answer was lost is not in it.
    """

    def __init__(self) -> None:
        self._offsets: dict[tuple[int, int], int] = {}
        self._last_epochs: dict[int, int] = {}

    def least(self, partition: int, epoch: int) -> int:
        """The least that the database may say."""
        return self._offsets.get((partition, epoch), 0)

    def add(self, partition: int, epoch: int, offset: int) -> None:
        """It has said this."""
        self._offsets[partition, epoch] = offset
        self._last_epochs[partition] = max(epoch, self.last_epoch(partition))

    def last_epoch(self, partition: int) -> int:
        """The last under which it has said anything; 0 when it never has. It stays when all else is forgotten."""
        return self._last_epochs.get(partition, 0)

    def keep_only(self, held: Mapping[int, int]) -> None:
        """Forget all other assignments."""
        # A copy, made at once: a commit may just be adding.
        for partition, epoch in list(self._offsets):
            if held.get(partition) != epoch:
                self._offsets.pop((partition, epoch), None)

    def set_back(self, offsets: Mapping[int, int], held: Mapping[int, int]) -> Collection[int]:
        """The partitions of which the database says less by now."""
        return {one for one, offset in offsets.items() if offset < self.least(one, held[one])}
