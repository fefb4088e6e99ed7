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

    def leasts(self) -> dict[int, int]:
        """The least that the store may say of each partition to who asks it from now on."""
        return {partition: offset for partition, (_, offset) in dict(self._places).items()}


def set_back(said: Mapping[int, int], leasts: Mapping[int, int]) -> Collection[int]:
    """Of partitions that are ours, those of which the store says less than it may.

    What is the least was asked before the store was: a commit of another thread may be stored, and confirmed, while the
    answer of the store is on its way.
    """
    return {partition for partition, offset in said.items() if offset < leasts.get(partition, 0)}
