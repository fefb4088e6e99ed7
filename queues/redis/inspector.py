"""Looking at the queue from outside of any group."""

from forebay.queues.contract import Bounds, GroupState, StoredRecord

from ..threads.connection_thread import Lives
from ..threads.inspector import ThreadInspector
from . import scripts
from .connection import RedisConnection, RedisStore
from .keys import Keys
from .reading import read
from .streams import find

#: Records that one question takes while a time is looked for.
_PAGE = 500


class RedisInspector(ThreadInspector[RedisConnection]):
    """Of streams in Redis."""

    def __init__(self, store: RedisStore, lives: Lives) -> None:
        super().__init__(store.thread("forebay-inspector", lives))

    def _partitions(self, connection: RedisConnection, name: str) -> int:
        return find(connection, name).partitions

    def _bounds(self, connection: RedisConnection, name: str) -> dict[int, Bounds]:
        stream = find(connection, name)
        partitions = range(stream.partitions)
        # The beginnings first: what retention takes in between then lies within, and not behind the end.
        starts = connection.ask("HMGET", stream.keys.starts, *partitions)
        ends = connection.ask("HMGET", stream.keys.ends, *partitions)
        return {at: Bounds(start=int(starts[at] or 0), end=int(ends[at] or 0)) for at in partitions}

    def _read(self, connection: RedisConnection, name: str, number: int, offset: int, most: int) -> list[StoredRecord]:
        return read(connection, find(connection, name), number, offset, most)

    def _offset_at(self, connection: RedisConnection, name: str, number: int, timestamp_ms: int) -> int:
        stream, offset = find(connection, name), 0
        # The end first: a record that comes in between then lies behind the answer, and is not passed over.
        end = int(connection.ask("HGET", stream.keys.ends, number) or 0)
        while records := read(connection, stream, number, offset, _PAGE):
            for record in records:
                if record.timestamp_ms >= timestamp_ms:
                    return record.offset
            offset = records[-1].offset + 1
        return end

    def _groups(self, connection: RedisConnection, name: str) -> dict[str, dict[int, GroupState]]:
        keys = find(connection, name).keys
        groups = sorted(member.decode() for member in connection.ask("SMEMBERS", keys.groups))
        found = {group: _states(connection, keys, group) for group in groups}
        return {group: states for group, states in found.items() if states}


def _states(connection: RedisConnection, keys: Keys, group: str) -> dict[int, GroupState]:
    """Of each partition that the group has ever had, in one step: a note belongs to its offset."""
    now, states = connection.run(scripts.STATES, [keys.leases(group), keys.offsets, keys.notes], group)
    return {int(number): _state(now, *state) for number, *state in states}


def _state(now: int, lease: bytes, offset: bytes, note: bytes) -> GroupState:
    _, until, owner = lease.decode().split(" ", 2)
    is_owned = owner and int(until) > now
    return GroupState(offset=int(offset), note=note, owner=owner if is_owned else None)
