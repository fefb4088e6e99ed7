"""How far the store has said that a member is: under its epoch nobody else writes that, and it never sinks."""

from collections.abc import Collection, Mapping

#: What to do about a store that was set back.
SET_BACK = (
    "what was read or committed is not there any more, or something else stands there (a backup was restored, a copy "
    "that lacked events took over, somebody deleted them): the group begins where it was then, and what it has handled "
    "since comes again; what came since is not there any more"
)


class Confirmed:
    """Of one member. What says less was set back: a backup was restored, or a copy that lacked something took over.

    Any thread may use it. A commit of which the answer was lost is not in it.
    """

    def __init__(self) -> None:
        #: Partition → its last epoch, and the offset under it.
        self._places: dict[int, tuple[int, int]] = {}

    def least(self, partition: int) -> int:
        """The least that the store may say."""
        return self._places.get(partition, (0, 0))[1]

    def add(self, partition: int, epoch: int, offset: int) -> None:
        """It has said this; of a former assignment it may be heard late, and counts no more."""
        if epoch >= self.last_epoch(partition):
            self._places[partition] = epoch, offset

    def last_epoch(self, partition: int) -> int:
        """The last under which it has said anything; 0 when it never has."""
        return self._places.get(partition, (0, 0))[0]

    def set_back(self, offsets: Mapping[int, int]) -> Collection[int]:
        """Of partitions that are ours, those of which the store says less by now."""
        return {one for one, offset in offsets.items() if offset < self.least(one)}
