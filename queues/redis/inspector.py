"""Looking at the queue from outside of any group."""

from collections import defaultdict

from forebay.queues.contract import Bounds, GroupState, StoredRecord

from ..threads.connection_thread import Lives
from ..threads.inspector import ThreadInspector
from .connection import RedisConnection, RedisStore
from .reading import read
from .streams import Stream, find

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
        stream = find(connection, name)
        seconds, microseconds = connection.ask("TIME")
        now = seconds * 1000 + microseconds // 1000
        found: dict[str, dict[int, GroupState]] = defaultdict(dict)
        for group in sorted(member.decode() for member in connection.ask("SMEMBERS", stream.keys.groups)):
            for partition, owner in _owners(connection, stream, group, now).items():
                found[group][partition] = _state(connection, stream, f"{partition}:{group}", owner)
        return dict(found)


def _owners(connection: RedisConnection, stream: Stream, group: str, now: int) -> dict[int, str | None]:
    """Whose each partition is that the group has ever had."""
    owners: dict[int, str | None] = {}
    for partition, lease in connection.ask("HGETALL", stream.keys.leases(group)).items():
        if partition.isdigit():
            _, until, owner = lease.decode().split(" ", 2)
            owners[int(partition)] = owner if owner and int(until) > now else None
    return owners


def _state(connection: RedisConnection, stream: Stream, field: str, owner: str | None) -> GroupState:
    offset = int(connection.ask("HGET", stream.keys.offsets, field) or 0)
    return GroupState(offset=offset, note=connection.ask("HGET", stream.keys.notes, field) or b"", owner=owner)
