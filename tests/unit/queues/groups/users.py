"""The user of a consumer of a group, who sees that it keeps its promises."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

from forebay.queues.contract import Commit
from forebay.queues.errors import Fenced, QueueError, QueueUnavailable

from .keeping import Keeping


@dataclass(eq=False, slots=True)
class Held:
    """A partition that was ours, from its assignment on."""

    epoch: int
    #: When it was told, by the world's clock.
    since: float
    #: Behind the last record that it gave.
    place: int
    is_asked_back: bool = False
    is_lost: bool = False
    is_given_back: bool = False
    #: Some commit was told to be another's affair.
    is_fenced: bool = False

    @property
    def is_over(self) -> bool:
        return self.is_lost or self.is_given_back


@dataclass(eq=False, slots=True)
class Asked:
    """One partition in a commit, as it was when that was asked for."""

    held: Held
    commit: Commit
    was_over: bool


@dataclass(eq=False, slots=True)
class User:
    """The contract's `Assignments`, and whoever fetches and commits."""

    consumer: Any
    keeping: Keeping
    begin: Callable[[Coroutine[Any, Any, Any]], Any]
    numbers: Iterator[int]
    #: By the partition: what is ours, and what was last.
    held: dict[int, Held] = field(default_factory=dict)
    last: dict[int, Held] = field(default_factory=dict)
    ever: list[tuple[int, Held]] = field(default_factory=list)
    grace_s: float = 0.0
    commits_last: str = "and waits"
    has_started: bool = False

    def epoch(self, partition: int) -> int | None:
        """Under which the partition is ours, if it is."""
        epoch: int | None = self.consumer._ownership.epoch(partition) if partition in self.held else None
        return epoch

    # As in the contract.

    def assigned(self, partition: int, committed: Commit) -> None:
        assert partition not in self.held
        epoch = self.consumer._ownership._assigned[partition]
        claim = self.keeping.claims[partition]
        # It may be another's already, who has gone on.
        assert committed.offset == claim.offset or (claim.epoch, claim.owner) != (epoch, self.consumer.name)
        assert all((number, held.epoch) != (partition, epoch) for number, held in self.ever)
        self.held[partition] = self.last[partition] = held = Held(epoch, self.consumer._clock(), committed.offset)
        self.ever.append((partition, held))

    async def revoked(self, partition: int) -> None:
        held = self.held[partition]
        assert not held.is_asked_back
        held.is_asked_back = True
        await asyncio.sleep(self.grace_s)
        if self.commits_last == "and waits":
            await self.commit([partition])
        elif self.commits_last == "and goes":
            self.begin(self.commit([partition]))
            await asyncio.sleep(0)
        if not held.is_lost:
            held.is_given_back = True
            del self.held[partition]

    def lost(self, partition: int) -> None:
        self.held.pop(partition).is_lost = True

    def rewritten(self, partition: int, offset: int) -> None:
        raise AssertionError

    def gap(self, partition: int, start: int, end: int) -> None:
        held = self.held[partition]
        assert not held.is_asked_back
        assert held.place <= start < end <= self.keeping.ends[partition]
        assert not set(range(start, end)).intersection(self.keeping.log[partition])

    # What it does.

    async def start(self) -> None:
        while not self.has_started:
            try:
                await self.consumer.start(self)
            except QueueUnavailable:
                await asyncio.sleep(0.1)
            else:
                self.has_started = True

    async def read(self, most: int, timeout_s: float) -> None:
        try:
            found = await self.consumer.fetch(most, timeout_s)
        except QueueUnavailable:
            return
        assert len(found) <= most
        for record in found:
            held = self.held[record.partition]
            assert not held.is_asked_back
            assert self.epoch(record.partition) == held.epoch
            assert record.offset == self.keeping.follows(record.partition, held.place)
            held.place = record.offset + 1

    async def commit(self, which: list[int]) -> None:
        """Also what is not ours any more."""
        helds = {number: self.last[number] for number in which if number in self.last}
        note = b"%d" % next(self.numbers)
        asked = {
            number: Asked(held, Commit(offset=held.place, note=note), held.is_over) for number, held in helds.items()
        }
        try:
            await self.consumer.commit({number: one.commit for number, one in asked.items()})
        except Fenced as fenced:
            self._judge(asked, set(fenced.partitions))
        except QueueError:
            return
        else:
            self._judge(asked, set())

    def _judge(self, asked: dict[int, Asked], fenced: set[int]) -> None:
        assert fenced <= asked.keys()
        for number, one in asked.items():
            kept = self.keeping.kept.get((number, one.held.epoch), [])
            assert (one.commit.note in kept) == (number not in fenced)
            assert not (one.was_over and number not in fenced)
            one.held.is_fenced = one.held.is_fenced or (number in fenced and not one.was_over)

    def see_that_it_was_fenced_for_a_reason(self) -> None:
        """When it has heard of all that was."""
        for number, held in self.ever:
            assert not held.is_fenced or held.is_lost or (number, held.epoch) in self.keeping.passed
