"""Looking at the queue from outside of any group."""

from collections.abc import Collection
from functools import partial

from forebay.queues.contract import Bounds, GroupState, StoredRecord, among

from .connection import MemcachedConnection, MemcachedStore
from .group import groups_of, state_of
from .records import bounds, span
from .streams import Stream, find


class MemcachedInspector:
    """Reads in a thread of its own."""

    def __init__(self, store: MemcachedStore) -> None:
        self._thread = store.thread("forebay-inspector")

    async def partitions(self, stream: str) -> int:
        """As in the contract."""
        return await self._thread.run(lambda connection: find(connection, stream).partitions)

    async def bounds(self, stream: str, only: Collection[int] | None = None) -> dict[int, Bounds]:
        """As in the contract; what lies within may be gone."""
        return among(await self._thread.run(partial(_bounds, name=stream)), only)

    async def read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
        """As in the contract; what is gone, or is not written yet, is passed over."""
        return await self._thread.run(
            lambda connection: _read(connection, find(connection, stream), partition, offset, max_records)
        )

    async def offset_at(self, stream: str, partition: int, timestamp_ms: int) -> int:
        """As in the contract, of what is there."""
        return await self._thread.run(partial(_offset_at, name=stream, partition=partition, timestamp_ms=timestamp_ms))

    async def groups(self, stream: str, only: Collection[str] | None = None) -> dict[str, dict[int, GroupState]]:
        """As in the contract."""
        return among(await self._thread.run(partial(_groups, name=stream)), only)

    async def close(self) -> None:
        """As in the contract."""
        await self._thread.close()


def _bounds(connection: MemcachedConnection, name: str) -> dict[int, Bounds]:
    stream = find(connection, name)
    found = bounds(connection, stream, range(stream.partitions))
    return {partition: Bounds(start=start, end=end) for partition, (start, end) in found.items()}


def _read(
    connection: MemcachedConnection, stream: Stream, partition: int, offset: int, most: int
) -> list[StoredRecord]:
    start, end = bounds(connection, stream, [partition]).get(partition, (0, 0))
    records: list[StoredRecord] = []
    at = max(offset, start)
    while at < end and len(records) < most:
        found = span(connection, stream, partition, at, end)
        records += found.records
        at = found.following
    return records[:most]


def _offset_at(connection: MemcachedConnection, name: str, partition: int, timestamp_ms: int) -> int:
    stream = find(connection, name)
    at, end = bounds(connection, stream, [partition]).get(partition, (0, 0))
    while at < end:
        found = span(connection, stream, partition, at, end)
        for record in found.records:
            if record.timestamp_ms >= timestamp_ms:
                return record.offset
        at = found.following
    return end


def _groups(connection: MemcachedConnection, name: str) -> dict[str, dict[int, GroupState]]:
    stream = find(connection, name)
    return {group: _states(connection, stream, group) for group in groups_of(connection, stream)}


def _states(connection: MemcachedConnection, stream: Stream, group: str) -> dict[int, GroupState]:
    found = {at: state_of(connection, stream, group, at) for at in range(stream.partitions)}
    return {
        at: GroupState(offset=state[0].offset, note=state[0].note, owner=state[1] or None)
        for at, state in found.items()
        if state is not None
    }
