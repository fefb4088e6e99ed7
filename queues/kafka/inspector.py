"""Looking at topics from outside of any group."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from forebay.queues.contract import Bounds, GroupState, StoredRecord
from forebay.queues.errors import QueueUnavailable

from . import notes
from .admin import Admin
from .clients import Clients
from .reader import Reader
from .topics import Topics


class KafkaInspector:
    """Asks the cluster, and reads in a thread of its own."""

    def __init__(self, clients: Clients, admin: Admin, topics: Topics) -> None:
        self._admin, self._topics = admin, topics
        self._reader = Reader(clients)
        self._reading: ThreadPoolExecutor | None = ThreadPoolExecutor(1, thread_name_prefix="forebay-inspector")

    async def bounds(self, stream: str) -> dict[int, Bounds]:
        """As in the contract."""
        partitions = await self._topics.partitions(stream)
        # The end last: it is never before the start then, whatever retention takes meanwhile.
        starts = await self._admin.starts(stream, partitions)
        ends = await self._admin.ends(stream, partitions)
        return {number: Bounds(start=starts[number], end=ends[number]) for number in partitions}

    async def read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
        """As in the contract."""
        bounds = await self._bounds_of(stream, partition)
        first = max(offset, bounds.start)
        if first >= bounds.end:
            return []
        if self._reading is None:
            raise QueueUnavailable("this inspector was closed")
        read = partial(self._reader.read, stream, partition, first, bounds.end, max_records)
        return await asyncio.get_running_loop().run_in_executor(self._reading, read)

    async def _bounds_of(self, stream: str, partition: int) -> Bounds:
        await self._topics.partitions(stream)
        start = await self._admin.starts(stream, [partition])
        end = await self._admin.ends(stream, [partition])
        return Bounds(start=start[partition], end=end[partition])

    async def offset_at(self, stream: str, partition: int, timestamp_ms: int) -> int:
        """As in the contract."""
        # The end first: a record that comes in between then lies behind the answer, and is not passed over.
        end = (await self._bounds_of(stream, partition)).end
        found = await self._admin.at(stream, partition, timestamp_ms)
        return found if found >= 0 else end

    async def groups(self, stream: str) -> dict[str, dict[int, GroupState]]:
        """As in the contract."""
        await self._topics.partitions(stream)
        names = await self._admin.groups()
        states = await asyncio.gather(*(self._group(name, stream) for name in names))
        return {name: state for name, state in zip(names, states, strict=True) if state}

    async def _group(self, name: str, stream: str) -> dict[int, GroupState]:
        commits, owners = await asyncio.gather(self._admin.commits(name), self._owners(name, stream))
        ours = {at.partition: at for at in commits if at.topic == stream and at.offset >= 0}
        return {
            number: GroupState(
                offset=ours[number].offset if number in ours else 0,
                note=notes.decode(ours[number].metadata) if number in ours else b"",
                owner=owners.get(number),
            )
            for number in sorted(ours.keys() | owners.keys())
        }

    async def _owners(self, group: str, stream: str) -> dict[int, str]:
        found = await self._admin.members(group)
        return {
            at.partition: f"{member.client_id}{member.host} {member.member_id}"
            for member in found.members
            for at in (member.assignment.topic_partitions if member.assignment else ())
            if at.topic == stream
        }

    async def close(self) -> None:
        """As in the contract."""
        reading, self._reading = self._reading, None
        if reading is not None:
            await asyncio.get_running_loop().run_in_executor(reading, self._reader.close)
            reading.shutdown()
