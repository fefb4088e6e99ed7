"""A member of a group whose leases are items that expire.

Nothing spans several items, so each step is one item's: who claims a partition raises the epoch in the item that has
the group's offset too, and a commit is a change of that very item, under the epoch of the member.
"""

import math
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from struct import Struct

import orjson

from forebay.queues.contract import Commit
from forebay.queues.errors import QueueUnavailable
from forebay.schemas.logger import get_logger

from ..groups.contract import Beat, Claimed
from ..groups.shares import GroupView, to_claim
from .connection import MemcachedConnection
from .records import bounds
from .streams import Stream, check, short

#: Epoch and offset; the note follows.
_HEAD = Struct(">QQ")

#: Of the first epoch, which is anyone: there is room for as many after it.
_EPOCH_BITS = 63

#: How often a change is tried that another's came before.
_TRIES = 20

#: An item that is changed with this is gone at once.
_NOW = -1

#: Records that one sweep deletes at most.
_SWEEP = 500

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemcachedGroup:
    """The member's steps."""

    name: str
    of: Stream
    me: str
    session_s: float

    @property
    def stream(self) -> str:
        """As in the protocol, and so is all that follows."""
        return self.of.name

    @property
    def sweep_every_s(self) -> float:
        """Of every stream: what is finished only keeps what is not from staying."""
        return 1.0

    @property
    def _expire_s(self) -> int:
        # The server counts whole seconds, and the first may be over at once: never earlier than we think.
        return math.ceil(self.session_s) + 1

    def check(self, connection: MemcachedConnection) -> None:
        """By its id."""
        check(connection, self.of)

    def view(self, connection: MemcachedConnection, held: Collection[int]) -> GroupView:
        """Reads."""
        partitions = range(self.of.partitions)
        leases = connection.get([self._lease(partition) for partition in partitions])
        others = {at for at in partitions if leases.get(self._lease(at), self._me) != self._me}
        return GroupView(
            me=self.me,
            members=self._living(connection),
            free=set(partitions) - others - set(held),
            held=held,
            taken=others.intersection(held),
            partitions=self.of.partitions,
        )

    def _living(self, connection: MemcachedConnection) -> set[str]:
        members, dead = self._known(connection)
        return members - dead

    def _known(self, connection: MemcachedConnection) -> tuple[set[str], set[str]]:
        """The members that have come and not left, and those of them that are silent for too long."""
        members = set(_names(connection.get([self._members]).get(self._members)))
        living = connection.get([self._member(name) for name in members])
        return members, {name for name in members if self._member(name) not in living}

    def beat(self, connection: MemcachedConnection, held: Mapping[int, int], *, is_leaving: bool) -> Beat:
        """Item by item."""
        check(connection, self.of)
        connection.put({self._member(self.me): b"1"}, self._expire_s)
        self._enlist(connection)
        still = [at for at in self._placed(connection, held) if self._renew(connection, at, self._expire_s)]
        wanted = [] if is_leaving else to_claim(self.view(connection, still))
        claimed = [self._claim(connection, partition) for partition in wanted]
        return Beat(still=still, claimed=[one for one in claimed if one is not None])

    def _placed(self, connection: MemcachedConnection, held: Mapping[int, int]) -> list[int]:
        """Those that have a place under our epoch: where it was evicted no commit counts until it is claimed anew."""
        places = connection.get([self._place(at) for at in held])
        known = {at: _committed(places.get(self._place(at))) for at in held}
        return [at for at, epoch in held.items() if (place := known[at]) is not None and place[0] == epoch]

    def _enlist(self, connection: MemcachedConnection) -> None:
        _, dead = self._known(connection)
        _change(connection, self._members, lambda names: sorted({*names} - dead | {self.me}))
        _change(connection, self.of.key("groups"), lambda names: sorted({*names, self.name}))

    def _renew(self, connection: MemcachedConnection, partition: int, expire_s: int) -> bool:
        seen = connection.gets(self._lease(partition))
        return seen[0] == self._me and connection.swap(self._lease(partition), self._me, seen, expire_s)

    def _claim(self, connection: MemcachedConnection, partition: int) -> Claimed | None:
        key = self._lease(partition)
        if not (connection.add(key, self._me, self._expire_s) or self._renew(connection, partition, self._expire_s)):
            return None
        for _ in range(_TRIES):
            seen = connection.gets(self._place(partition))
            epoch, committed = _committed(seen[0]) or self._first(connection, partition)
            if connection.swap(self._place(partition), _packed(epoch + 1, committed), seen):
                return Claimed(partition=partition, epoch=epoch + 1, committed=committed)
        return None

    def _first(self, connection: MemcachedConnection, partition: int) -> tuple[int, Commit]:
        start, end = bounds(connection, self.of, [partition]).get(partition, (0, 0))
        if self._is_known(connection, partition):
            log.error("commit_gone", stream=self.stream, group=self.name, partition=partition)
        connection.put({self.of.of_group(self.name, "known", partition): b"1"})
        # Where a place was evicted, no epoch of before may come again: somebody may still have it.
        return secrets.randbits(_EPOCH_BITS), Commit(offset=start, is_reset=start < end)

    def _is_known(self, connection: MemcachedConnection, partition: int) -> bool:
        return bool(connection.get([self.of.of_group(self.name, "known", partition)]))

    def commit(
        self, connection: MemcachedConnection, epochs: Mapping[int, int], commits: Mapping[int, Commit]
    ) -> set[int]:
        """Partition by partition: when the server fails in between, some are stored."""
        return {at for at, epoch in epochs.items() if self._commit(connection, at, epoch, commits[at])}

    def _commit(self, connection: MemcachedConnection, partition: int, epoch: int, commit: Commit) -> bool:
        for _ in range(_TRIES):
            seen = connection.gets(self._place(partition))
            known = _committed(seen[0])
            if known is None or known[0] != epoch:
                return False
            if connection.swap(self._place(partition), _packed(epoch, commit), seen):
                return True
        raise QueueUnavailable(f"the commit of partition {partition} is changed by others all the time")

    def release(self, connection: MemcachedConnection, epochs: Mapping[int, int]) -> None:
        """At once."""
        for partition in epochs:
            self._renew(connection, partition, _NOW)

    def leave(self, connection: MemcachedConnection) -> None:
        """At once."""
        self.release(connection, dict.fromkeys(range(self.of.partitions), 0))
        _change(connection, self._members, lambda names: [name for name in names if name != self.me])
        connection.drop([self._member(self.me)])

    def sweep(self, connection: MemcachedConnection, partition: int) -> bool:
        """What every group has finished; a group of which that is not known keeps all."""
        places = [self.of.of_group(group, "place", partition) for group in groups_of(connection, self.of)]
        found = connection.get(places)
        known = [committed[1].offset for place in places if (committed := _committed(found.get(place)))]
        start, _ = bounds(connection, self.of, [partition]).get(partition, (0, 0))
        end = min(min(known, default=0), start + _SWEEP) if len(known) == len(places) else 0
        if end <= start:
            return False
        # The start first: who reads it meanwhile misses nothing.
        connection.put({self.of.start(partition): b"%d" % end})
        connection.drop([self.of.record(partition, offset) for offset in range(start, end)])
        return True

    @property
    def _me(self) -> bytes:
        return self.me.encode()

    @property
    def _members(self) -> str:
        return self.of.of_group(self.name, "members")

    def _member(self, name: str) -> str:
        return self.of.of_group(self.name, "member", short(name))

    def _lease(self, partition: int) -> str:
        return self.of.of_group(self.name, "lease", partition)

    def _place(self, partition: int) -> str:
        return self.of.of_group(self.name, "place", partition)


def _change(connection: MemcachedConnection, key: str, change: Callable[[list[str]], list[str]]) -> None:
    """Change a list of names, whoever else does at the same time."""
    for _ in range(_TRIES):
        seen = connection.gets(key)
        names = _names(seen[0])
        changed = change(names)
        if changed == names or connection.swap(key, orjson.dumps(changed), seen):
            return
    raise QueueUnavailable(f"{key} is changed by others all the time")


def _names(item: bytes | None) -> list[str]:
    names: list[str] = [] if item is None else orjson.loads(item)
    return names


def _packed(epoch: int, commit: Commit) -> bytes:
    return _HEAD.pack(epoch, commit.offset) + commit.note


def _committed(item: bytes | None) -> tuple[int, Commit] | None:
    if item is None:
        return None
    epoch, offset = _HEAD.unpack_from(item)
    return epoch, Commit(offset=offset, note=item[_HEAD.size :])


def state_of(connection: MemcachedConnection, stream: Stream, group: str, partition: int) -> tuple[Commit, str] | None:
    """What a group has committed in the partition, and whose it is, or ""; None when it was never anybody's."""
    place, lease = stream.of_group(group, "place", partition), stream.of_group(group, "lease", partition)
    found = connection.get([place, lease])
    committed = _committed(found.get(place))
    return committed and (committed[1], found.get(lease, b"").decode())


def groups_of(connection: MemcachedConnection, stream: Stream) -> list[str]:
    """The groups that ever had a member."""
    return _names(connection.get([stream.key("groups")]).get(stream.key("groups")))
