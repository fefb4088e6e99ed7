"""Looking at the queue from outside of any group. Of records, what is gone or not written yet is passed over."""

from forebay.queues.contract import Bounds, GroupState, StoredRecord

from ..threads.inspector import ThreadInspector
from .connection import MemcachedConnection, MemcachedStore
from .group import groups_of, state_of
from .records import bounds, span
from .streams import Stream, evicted, find


class MemcachedInspector(ThreadInspector[MemcachedConnection]):
    """Of streams in Memcached."""

    def __init__(self, store: MemcachedStore) -> None:
        super().__init__(store.thread("forebay-inspector"))

    def _partitions(self, connection: MemcachedConnection, name: str) -> int:
        return find(connection, name).partitions

    def _bounds(self, connection: MemcachedConnection, name: str) -> dict[int, Bounds]:
        stream = find(connection, name)
        found = bounds(connection, stream, range(stream.partitions))
        for partition in set(range(stream.partitions)) - found.keys():
            raise evicted(stream, partition)
        return {partition: Bounds(start=start, end=end) for partition, (start, end) in found.items()}

    def _read(
        self, connection: MemcachedConnection, name: str, number: int, offset: int, most: int
    ) -> list[StoredRecord]:
        stream = find(connection, name)
        start, end = bounds(connection, stream, [number]).get(number, (0, 0))
        records: list[StoredRecord] = []
        at = max(offset, start)
        while at < end and len(records) < most:
            found = span(connection, stream, number, at, end)
            records += found.records
            at = found.following
        return records[:most]

    def _offset_at(self, connection: MemcachedConnection, name: str, number: int, timestamp_ms: int) -> int:
        stream = find(connection, name)
        at, end = bounds(connection, stream, [number]).get(number, (0, 0))
        while at < end:
            found = span(connection, stream, number, at, end)
            for record in found.records:
                if record.timestamp_ms >= timestamp_ms:
                    return record.offset
            at = found.following
        return end

    def _groups(self, connection: MemcachedConnection, name: str) -> dict[str, dict[int, GroupState]]:
        stream = find(connection, name)
        return {group: _states(connection, stream, group) for group in groups_of(connection, stream)}


def _states(connection: MemcachedConnection, stream: Stream, group: str) -> dict[int, GroupState]:
    found = {at: state_of(connection, stream, group, at) for at in range(stream.partitions)}
    return {
        at: GroupState(offset=state[0].offset, note=state[0].note, owner=state[1] or None)
        for at, state in found.items()
        if state is not None
    }
