"""A stream and a group that reads it, made up: what a store keeps of both, and what each step does to that."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from forebay.queues.contract import Commit, PlacedRecord
from forebay.queues.groups.contract import Beat, Claimed, Stretch, Wanted, up_to
from forebay.queues.groups.shares import GroupView, to_claim

STREAM, GROUP = "events", "group"
PARTITIONS = range(3)

#: In seconds.
SESSION_S = 1.0


@dataclass(slots=True)
class Claim:
    """Whose a partition is, and how far the group is in it."""

    owner: str | None
    epoch: int
    until: float
    offset: int
    note: bytes = b""


class Keeping:
    """Each step is done at once, or not at all."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        #: Whether a lease that nobody renewed is gone at once, or only when another takes it.
        self.forgets = False
        #: Name → until when it lives.
        self.members: dict[str, float] = {}
        self.claims: dict[int, Claim] = {}
        #: The offsets at which records stand.
        self.log: dict[int, list[int]] = {number: [] for number in PARTITIONS}
        self.starts, self.ends = dict.fromkeys(PARTITIONS, 0), dict.fromkeys(PARTITIONS, 0)
        self.writes = 0
        #: Notes of commits that were taken, each of one call: partition and epoch → notes.
        self.kept: dict[tuple[int, int], list[bytes]] = {}
        #: Leases that ended otherwise than by being given back: partition and epoch.
        self.passed: set[tuple[int, int]] = set()

    # The stream.

    def write(self, number: int, records: int, gap: int) -> None:
        """Append so many, and a gap behind them."""
        end = self.ends[number]
        self.log[number] += range(end, end + records)
        self.ends[number] = end + records + gap
        self.writes += 1

    def read(self, one: Wanted, most: int) -> Stretch:
        if one.last is not None and not self.still_has(one.partition, one.last.offset):
            return Stretch([], one.offset, is_set_back=True)
        found = [offset for offset in self.log[one.partition] if one.offset <= offset < one.end][:most]
        return up_to([_record(one.partition, offset) for offset in found], one.end)

    def still_has(self, number: int, offset: int) -> bool:
        return offset in self.log[number] or offset < self.starts[number]

    def sweep(self, number: int) -> bool:
        """Delete one record that the group has finished."""
        log, claim = self.log[number], self.claims.get(number)
        if claim is None or not log or log[0] >= claim.offset:
            return False
        self.starts[number] = log.pop(0) + 1
        return True

    def follows(self, number: int, place: int) -> int | None:
        """Where the next record stands."""
        return next((offset for offset in self.log[number] if offset >= place), None)

    # The group.

    def is_anothers(self, number: int, me: str) -> bool:
        claim = self.claims.get(number)
        return claim is not None and claim.owner not in (None, me) and self._clock() < claim.until

    def view(self, me: str, held: Collection[int]) -> GroupView:
        others = {number for number in PARTITIONS if self.is_anothers(number, me)}
        return GroupView(
            me=me,
            members={name for name, until in self.members.items() if self._clock() < until},
            free=set(PARTITIONS) - others - set(held),
            held=held,
            taken=others.intersection(held),
            partitions=len(PARTITIONS),
        )

    def beat(self, me: str, held: Mapping[int, int], *, is_leaving: bool) -> Beat:
        until = self._clock() + SESSION_S
        self.members[me] = until
        still = [number for number, epoch in held.items() if self._renew(number, me, epoch, until)]
        wanted = [] if is_leaving else to_claim(self.view(me, still))
        return Beat(still=still, claimed=[self._claim(number, me, until) for number in wanted])

    def _renew(self, number: int, me: str, epoch: int, until: float) -> bool:
        claim = self.claims[number]
        if not self._owns(claim, me, epoch):
            return False
        if self.forgets and claim.until <= self._clock():
            self._pass(number)
            return False
        claim.until = until
        return True

    def _claim(self, number: int, me: str, until: float) -> Claimed:
        self._pass(number)
        claim = self.claims.setdefault(number, Claim(None, 0, 0, self.starts[number]))
        claim.owner, claim.epoch, claim.until = me, claim.epoch + 1, until
        committed = Commit(offset=claim.offset, note=claim.note)
        return Claimed(partition=number, epoch=claim.epoch, committed=committed)

    def _pass(self, number: int) -> None:
        if (claim := self.claims.get(number)) is not None and claim.owner is not None:
            self.passed.add((number, claim.epoch))
            claim.owner = None

    def commit(self, me: str, epochs: Mapping[int, int], commits: Mapping[int, Commit]) -> set[int]:
        stored = {number for number, epoch in epochs.items() if self._owns(self.claims[number], me, epoch)}
        for number in stored:
            claim, commit = self.claims[number], commits[number]
            claim.offset, claim.note = commit.offset, commit.note
            self.kept.setdefault((number, claim.epoch), []).append(commit.note)
        return stored

    def release(self, me: str, epochs: Mapping[int, int]) -> bool:
        for number, epoch in epochs.items():
            if self._owns(claim := self.claims[number], me, epoch):
                claim.owner, claim.until = None, 0
        return True

    def leave(self, me: str) -> bool:
        # Whoever knows that its lease was over did not give it back.
        for number in [number for number, claim in self.claims.items() if claim.owner == me]:
            self._pass(number)
        self.members.pop(me, None)
        return True

    def _owns(self, claim: Claim, me: str, epoch: int) -> bool:
        return claim.owner == me and claim.epoch == epoch


def _record(number: int, offset: int) -> PlacedRecord:
    return PlacedRecord(stream=STREAM, partition=number, offset=offset, key="", value=b"v", timestamp_ms=0)
