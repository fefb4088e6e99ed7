"""Which partitions are ours, as the event loop knows it."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from forebay.queues.contract import Assignments, Commit

from .inbox import Inbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A partition that became ours: by which assignment, and from where on."""

    epoch: int
    committed: Commit


class Ownership:
    """Tells the user what comes and goes; an epoch is one assignment of one partition."""

    def __init__(self, assignments: Assignments, inbox: Inbox, committing: asyncio.Lock) -> None:
        self._assignments, self._inbox, self._committing = assignments, inbox, committing
        self._epochs: dict[int, int] = {}
        self._rewritten: set[int] = set()

    def epochs_of(self, partitions: Collection[int]) -> dict[int, int]:
        """The epochs of those that are ours."""
        return {number: self._epochs[number] for number in partitions if number in self._epochs}

    def rewritten_of(self, epochs: Mapping[int, int]) -> frozenset[int]:
        """Those that are known to be written on by a later leader."""
        return frozenset(self._rewritten.intersection(epochs))

    def take_over(self, holdings: Mapping[int, Holding]) -> None:
        """These are ours from now on."""
        for number, holding in holdings.items():
            self._epochs[number] = holding.epoch
            self._rewritten.discard(number)
            self._assignments.assigned(number, holding.committed)

    def gap(self, partition: int, epoch: int, start: int, end: int) -> None:
        """In this assignment, the log ends with a gap."""
        if self._epochs.get(partition) == epoch:
            self._assignments.gap(partition, start, end)

    def rewritten(self, partition: int, epoch: int, offset: int) -> None:
        """In this assignment, what comes from the offset on is none of what the group has read."""
        if self._epochs.get(partition) == epoch:
            self._rewritten.add(partition)
            self._assignments.rewritten(partition, offset)

    async def give_back(self, partitions: Collection[int]) -> None:
        """Return when the user has finished with these; they may be committed until then."""
        ours = [number for number in partitions if number in self._epochs]
        await asyncio.gather(*(self._give_back(number) for number in ours))
        # Commits that were called before count, even if nobody waits for them: the lock lets them go first.
        async with self._committing:
            return

    async def _give_back(self, partition: int) -> None:
        self._inbox.forget(partition)
        epoch = self._epochs.get(partition)
        await self._assignments.revoked(partition)
        # It may have been lost meanwhile, and be ours again.
        if self._epochs.get(partition) == epoch:
            self._epochs.pop(partition, None)

    def lose(self, partitions: Collection[int]) -> None:
        """These may be another's already."""
        ours = [number for number in partitions if number in self._epochs]
        for number in ours:
            self._inbox.forget(number)
            del self._epochs[number]
            self._assignments.lost(number)
