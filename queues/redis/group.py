"""A member of a group whose leases are fields of a hash: each step is a script, by the server's clock."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import RedisError

from forebay.queues.contract import Commit
from forebay.queues.errors import QueueError
from forebay.schemas.logger import get_logger

from ..groups.confirmed import SET_BACK, Confirmed, set_back
from ..groups.contract import Beat, Claimed
from ..groups.leaps import Leaps
from ..groups.retention import Retention
from ..groups.shares import GroupView, to_claim
from . import delivery, scripts
from .connection import RedisConnection
from .retention import AT_ONCE
from .streams import ANOTHER, Stream, made_anew

#: Entries that one step acknowledges at most: everybody else waits meanwhile.
_ACKNOWLEDGE = 500

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisGroup:
    """The member's scripts."""

    name: str
    of: Stream
    me: str
    session_s: float
    retention: Retention
    leaps: Leaps
    confirmed: Confirmed = field(default_factory=Confirmed)

    @property
    def stream(self) -> str:
        """As in the protocol, and so is all that follows."""
        return self.of.name

    @property
    def sweep_every_s(self) -> float | None:
        """By the retention."""
        return self.retention.sweep_every_s(self.stream)

    def check(self, connection: RedisConnection) -> None:
        """Each script looks by itself."""

    def view(self, connection: RedisConnection, held: Collection[int]) -> GroupView:
        """Reads."""
        keys, asked_at = self.of.keys, self.leaps.steady()
        _, now, members, fields = self._run(
            connection, scripts.VIEW, [keys.about, keys.members(self.name), keys.leases(self.name)]
        )
        leases = dict(zip(fields[::2], fields[1::2], strict=True))
        others = {int(partition) for partition, lease in leases.items() if self._is_anothers(lease, now)}
        free = set(range(self.of.partitions)) - others - set(held)
        # When the server's clock leaps, all leases seem to be over.
        is_quiet = self.leaps.leapt_ms(now, asked_at) > 0 or now < int(leases.get(b"quiet", 0))
        return GroupView(
            me=self.me,
            members={member.decode() for member in members},
            free=set() if is_quiet else free,
            held=held,
            taken=others.intersection(held),
            partitions=self.of.partitions,
        )

    def _is_anothers(self, lease: bytes, now: int) -> bool:
        # The other fields have no spaces in them.
        _, _, rest = lease.partition(b" ")
        until, _, owner = rest.partition(b" ")
        return owner not in (b"", self.me.encode()) and int(until) > now

    def beat(self, connection: RedisConnection, held: Mapping[int, int], *, is_leaving: bool) -> Beat:
        """In steps: what another takes in between is not claimed twice, since each claim looks for itself.

        What was set back is lost, and taken again: it begins where the group was then.
        """
        keys, leasts = self.of.keys, self.confirmed.leasts()
        _, found = self._run(
            connection,
            scripts.BEAT,
            [keys.about, keys.members(self.name), keys.leases(self.name), keys.groups, keys.offsets],
            self.name,
            self.me,
            self._session_ms,
            *_pairs(held),
        )
        ours = {int(number): int(offset) for number, offset in zip(found[::2], found[1::2], strict=True)}
        if lost := set_back(ours, leasts):
            log.error("set_back", group=self.name, stream=self.stream, partitions=sorted(lost), error=SET_BACK)
        still = ours.keys() - lost
        wanted = [] if is_leaving else to_claim(self.view(connection, still))
        return Beat(still=still, claimed=self._claim(connection, wanted) if wanted else [])

    def _claim(self, connection: RedisConnection, wanted: Sequence[int]) -> list[Claimed]:
        keys = self.of.keys
        _, claimed = self._run(
            connection,
            scripts.CLAIM,
            [keys.about, keys.leases(self.name), keys.starts, keys.offsets, keys.notes],
            self.name,
            self.me,
            self._session_ms,
            *_pairs({number: self.confirmed.last_epoch(number) for number in wanted}),
        )
        self._settle(connection, [int(number) for number, *_ in claimed])
        found = [self._claimed(connection, *one) for one in claimed]
        for one in found:
            self.confirmed.add(one.partition, one.epoch, one.committed.offset)
        return found

    def _claimed(
        self, connection: RedisConnection, number: bytes, epoch: bytes, offset: bytes, note: bytes, is_new: int
    ) -> Claimed:
        is_reset = bool(is_new) and bool(connection.ask("XLEN", self.of.keys.log(int(number))))
        committed = Commit(offset=int(offset), note=note, is_reset=is_reset)
        return Claimed(partition=int(number), epoch=int(epoch), committed=committed)

    def commit(self, connection: RedisConnection, epochs: Mapping[int, int], commits: Mapping[int, Commit]) -> set[int]:
        """A stream that is another one has nothing of ours."""
        keys, values = self.of.keys, list[int | bytes]()
        for number, epoch in epochs.items():
            values += (number, epoch, commits[number].offset, commits[number].note, self.confirmed.least(number))
        names = [keys.about, keys.leases(self.name), keys.offsets, keys.notes]
        answer = connection.run(scripts.COMMIT, names, self.of.id, self.name, self.me, *values)
        stored = set() if answer[0] == ANOTHER else set(answer[1])
        for number in stored:
            self.confirmed.add(number, epochs[number], commits[number].offset)
        self._acknowledge(connection, stored)
        return stored

    def _acknowledge(self, connection: RedisConnection, partitions: Collection[int]) -> None:
        try:
            self._settle(connection, partitions)
        except (RedisError, OSError, QueueError) as error:
            # They are committed, whatever is said here; the next commit or owner does it.
            log.warning("not_acknowledged", group=self.name, stream=self.stream, error=str(error))

    def _settle(self, connection: RedisConnection, partitions: Collection[int]) -> None:
        """Bring the Redis groups of these partitions to what is committed, in steps."""
        keys, left = self.of.keys, 0
        names = [keys.about, keys.leases(self.name), keys.offsets, *map(keys.log, partitions)]
        while partitions and not left:
            _, left = self._run(connection, delivery.SETTLE, names, self.name, _ACKNOWLEDGE, *partitions)

    def release(self, connection: RedisConnection, epochs: Mapping[int, int]) -> None:
        """At once."""
        connection.run(scripts.RELEASE, [self.of.keys.leases(self.name)], self.me, *_pairs(epochs))

    def leave(self, connection: RedisConnection) -> None:
        """At once."""
        keys = self.of.keys
        connection.run(scripts.LEAVE, [keys.members(self.name), keys.leases(self.name)], self.me)

    def sweep(self, connection: RedisConnection, partition: int) -> bool:
        """Entry by entry: what Redis could do at once, it can't do by the time of a record."""
        keys = self.of.keys
        names = [keys.about, keys.groups, keys.offsets, keys.starts, keys.log(partition)]
        _, swept = self._run(connection, scripts.SWEEP, names, partition, self.retention.keep_ms, AT_ONCE)
        return bool(swept)

    @property
    def _session_ms(self) -> int:
        return round(self.session_s * 1000)

    def _run(self, connection: RedisConnection, script: str, keys: Sequence[str], *arguments: str | int) -> Any:
        answer = connection.run(script, keys, self.of.id, *arguments)
        if answer[0] == ANOTHER:
            raise made_anew(connection, self.of, QueueError)
        return answer


def _pairs(epochs: Mapping[int, int]) -> list[int]:
    return [number for pair in epochs.items() for number in pair]
