"""Looking at the queue from outside of any group."""

import asyncio
import time
from collections.abc import Callable

from forebay.queues.contract import Bounds, Commit, GroupState, StoredRecord

from .address import Address
from .catalog import Catalog, unknown
from .chronicle import Chronicle
from .faults import NotThere
from .group import Group
from .lane import Lane
from .logs import group_log, partition_log, payload
from .looking import MOST, Entries, end_of, look
from .records import placed
from .writer import Writer

#: Entries among which the first record mostly is.
_FEW = 10


class RabbitmqInspector:
    """Looks into streams; the groups' streams it follows, once it was asked for them."""

    def __init__(self, address: Address, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._writer = Writer(address, "inspector")
        self._catalog = Catalog(self._writer)
        self._groups: dict[str, tuple[Lane, Chronicle]] = {}
        self._now_ms = now_ms

    async def bounds(self, stream: str) -> dict[int, Bounds]:
        """As in the contract."""
        numbers = range(await self._catalog.partitions(stream))
        found = await asyncio.gather(*(self._bounds(partition_log(stream, number)) for number in numbers))
        return dict(zip(numbers, found, strict=True))

    async def _bounds(self, queue: str) -> Bounds:
        connection = await self._writer.connection()
        entries = await look(connection, queue, "first", _FEW)
        # Fewer than were asked for are all that there are.
        end = entries[-1][0] + 1 if len(entries) < _FEW else await end_of(connection, queue)
        while True:
            # What stands first in a stream that was never trimmed is no record, and several may have made it.
            if found := [at for at, body in entries if payload(body) is not None]:
                return Bounds(start=found[0], end=max(found[0], end))
            if (offset := entries[-1][0] + 1) >= end:
                return Bounds(start=end, end=end)
            entries = await look(connection, queue, offset, _FEW)

    async def read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
        """As in the contract."""
        queue = await self._queue(stream, partition)
        found: list[StoredRecord] = []
        while not found and (entries := await self._entries(queue, offset, max_records)):
            offset = entries[-1][0] + 1
            found += filter(None, (placed(stream, partition, at, body) for at, body in entries))
        return found[:max_records]

    async def _queue(self, stream: str, partition: int) -> str:
        if partition >= await self._catalog.partitions(stream):
            raise unknown(f"{stream} with a partition {partition}")
        return partition_log(stream, partition)

    async def _entries(self, queue: str, offset: int, count: int) -> Entries:
        connection = await self._writer.connection()
        if offset >= await end_of(connection, queue):
            return []
        return await look(connection, queue, offset, count)

    async def offset_at(self, stream: str, partition: int, timestamp_ms: int) -> int:
        """As in the contract; looks at the records one by one, since the broker knows its own times only."""
        end = await end_of(await self._writer.connection(), await self._queue(stream, partition))
        offset = 0
        while records := await self.read(stream, partition, offset, MOST):
            for record in records:
                if record.timestamp_ms >= timestamp_ms:
                    return record.offset
            offset = records[-1].offset + 1
        return max(end, offset)

    async def groups(self, stream: str) -> dict[str, dict[int, GroupState]]:
        """As in the contract."""
        names = await self._catalog.groups(stream)
        return {name: self._shown(await self._group(group_log(stream, name))) for name in names}

    async def _group(self, queue: str) -> Group:
        if queue not in self._groups:
            chronicle = Chronicle()
            self._groups[queue] = await self._writer.follow(queue, chronicle), chronicle
        lane, chronicle = self._groups[queue]
        try:
            await lane.catch_up()
        except NotThere:
            del self._groups[queue]
            raise
        chronicle.check(queue)
        return chronicle.group

    def _shown(self, group: Group) -> dict[int, GroupState]:
        shown = {}
        for partition in sorted(group.commits.keys() | group.owners.keys()):
            commit, owner = group.commits.get(partition, Commit(offset=0)), group.owners.get(partition)
            name = owner.member if owner is not None and self._lives(group, owner.member) else None
            shown[partition] = GroupState(offset=commit.offset, note=commit.note, owner=name)
        return shown

    def _lives(self, group: Group, member: str) -> bool:
        # By its own clock and ours: it is shown to a person, and nothing is decided by it.
        sign = group.members.get(member)
        return sign is not None and self._now_ms() < sign.at_ms + sign.session_ms

    async def close(self) -> None:
        """As in the contract."""
        await self._writer.close()
