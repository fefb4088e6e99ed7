"""The event loop's side of a membership: tells the consumer's user what became of partitions, in order."""

import asyncio
from collections.abc import Callable
from functools import partial

from forebay.queues.contract import Assignments, StoredRecord
from forebay.queues.errors import QueueUnavailable
from forebay.schemas.logger import get_logger

from .contract import Claimed
from .leases import Leases
from .positions import Position, Positions

log = get_logger(__name__)


#: Between two looks at leases whose time is over, while somebody else is about to tell of it.
_LOOK_S = 0.01


class Ownership:
    """Keeps positions and the user's assignments in step with the leases. Used on the event loop alone."""

    def __init__(
        self,
        assignments: Assignments,
        leases: Leases,
        positions: Positions,
        after_commits: Callable[[Callable[[], None]], None],
    ) -> None:
        self._assignments, self._leases, self._positions = assignments, leases, positions
        self._after_commits = after_commits
        self._assigned: dict[int, int] = {}
        #: Of these, the last record that was given out.
        self._last: dict[int, StoredRecord] = {}
        self._watch: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def assigned(self, claimed: Claimed) -> None:
        """Begin with a partition, unless it was lost before we came to it."""
        if self._leases.held().get(claimed.partition) != claimed.epoch:
            return
        self._assigned[claimed.partition] = claimed.epoch
        self._last.pop(claimed.partition, None)
        position = Position(epoch=claimed.epoch, offset=claimed.committed.offset)
        self._assignments.assigned(claimed.partition, claimed.committed)
        self._positions.assign(claimed.partition, position)
        self._watch_leases()

    def asked_back(self, partition: int, epoch: int, given_back: Callable[[int, int], None]) -> None:
        """Have the user finish with a partition, and then say so."""
        self._positions.drop(partition)
        task = asyncio.ensure_future(self._revoke(partition, epoch, given_back))
        # The loop itself keeps only a weak reference.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _revoke(self, partition: int, epoch: int, given_back: Callable[[int, int], None]) -> None:
        try:
            if self._assigned.get(partition) == epoch:
                await self._assignments.revoked(partition)
        except Exception:  # the user's code failed; the partition must go on elsewhere
            log.exception("revoked_failed", partition=partition)
        finally:
            if self._assigned.get(partition) == epoch:
                del self._assigned[partition]
                self._let_go(partial(given_back, partition, epoch))

    def _let_go(self, given_back: Callable[[], None]) -> None:
        try:
            # A commit that was called before `revoked` returned is still to count, if nobody waited for it too.
            self._after_commits(given_back)
        except QueueUnavailable:
            # There is no thread to commit in, and so no commit. Held for ever, it would be read by nobody.
            given_back()

    def lost(self, partition: int, epoch: int) -> None:
        """Stop with a partition at once."""
        if self._assigned.get(partition) == epoch:
            del self._assigned[partition]
            self._positions.drop(partition)
            self._assignments.lost(partition)

    def epoch(self, partition: int) -> int | None:
        """The epoch under which the user has it; None when that is over, even if the partition is ours again by now."""
        epoch = self._assigned.get(partition)
        return epoch if self._leases.epoch(partition) == epoch else None

    def read(self, last: StoredRecord) -> None:
        """All up to this record was given out."""
        self._last[last.partition] = last

    def last(self, partition: int) -> StoredRecord | None:
        """The last record that was given out of what the user has; also while the partition is asked back."""
        return self._last.get(partition)

    def gap(self, partition: int, start: int, end: int) -> None:
        """The log ends with a gap."""
        if partition in self._assigned:
            self._assignments.gap(partition, start, end)

    def drop_expired(self) -> None:
        """Lose what our own clock says is over: the process was stopped, or the database gone, for too long."""
        for partition, epoch in self._leases.drop_expired().items():
            self.lost(partition, epoch)

    def _watch_leases(self) -> None:
        """Look when they end: the thread that renews them may still wait for a store that hangs, and others begin."""
        if self._watch is None and self._assigned:
            wait_s = max(self._leases.left_s(), _LOOK_S)
            self._watch = asyncio.get_running_loop().call_later(wait_s, self._look_at_leases)

    def _look_at_leases(self) -> None:
        self._watch = None
        self.drop_expired()
        self._watch_leases()
