"""Looking at the queue from outside of any group."""

from collections import defaultdict
from collections.abc import Collection
from functools import partial

from forebay.queues.contract import Bounds, GroupState, StoredRecord, among

from ..threads.connection_thread import Lives
from .connection import RedisConnection, RedisStore
from .reading import read
from .streams import Stream, find

#: Records that one question takes while a time is looked for.
_PAGE = 500


class RedisInspector:
    """Reads in a thread of its own."""

    def __init__(self, store: RedisStore, lives: Lives) -> None:
        self._thread = store.thread("forebay-inspector", lives)

    async def partitions(self, stream: str) -> int:
        """As in the contract."""
        return await self._thread.run(lambda connection: find(connection, stream).partitions)

    async def bounds(self, stream: str, only: Collection[int] | None = None) -> dict[int, Bounds]:
        """As in the contract."""
        return among(await self._thread.run(partial(_bounds, name=stream)), only)

    async def read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
        """As in the contract; large records come in fewer than asked for, but one at least."""
        return await self._thread.run(
            lambda connection: read(connection, find(connection, stream), partition, offset, max_records)
        )

    async def offset_at(self, stream: str, partition: int, timestamp_ms: int) -> int:
        """As in the contract; looks at the records one by one, since an index would cost every write."""
        looked_for = partial(_offset_at, name=stream, number=partition, timestamp_ms=timestamp_ms)
        return await self._thread.run(looked_for)

    async def groups(self, stream: str, only: Collection[str] | None = None) -> dict[str, dict[int, GroupState]]:
        """As in the contract."""
        return among(await self._thread.run(partial(_groups, name=stream)), only)

    async def close(self) -> None:
        """As in the contract."""
        await self._thread.close()


def _bounds(connection: RedisConnection, name: str) -> dict[int, Bounds]:
    stream = find(connection, name)
    partitions = range(stream.partitions)
    # The beginnings first: what retention takes in between then lies within, and not behind the end.
    starts = connection.ask("HMGET", stream.keys.starts, *partitions)
    ends = connection.ask("HMGET", stream.keys.ends, *partitions)
    return {at: Bounds(start=int(starts[at] or 0), end=int(ends[at] or 0)) for at in partitions}


def _offset_at(connection: RedisConnection, name: str, number: int, timestamp_ms: int) -> int:
    stream, offset = find(connection, name), 0
    # The end first: a record that comes in between then lies behind the answer, and is not passed over.
    end = int(connection.ask("HGET", stream.keys.ends, number) or 0)
    while records := read(connection, stream, number, offset, _PAGE):
        for record in records:
            if record.timestamp_ms >= timestamp_ms:
                return record.offset
        offset = records[-1].offset + 1
    return end


def _groups(connection: RedisConnection, name: str) -> dict[str, dict[int, GroupState]]:
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
