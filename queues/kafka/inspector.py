"""Looking at topics from outside of any group."""

import asyncio
from collections.abc import Collection, Mapping
from functools import partial

from confluent_kafka import TopicPartition
from confluent_kafka.admin import ConsumerGroupDescription  # type: ignore[attr-defined]  # public, but in no __all__

from forebay.queues.contract import Bounds, GroupState, StoredRecord
from forebay.queues.errors import QueueError, QueueUnavailable

from ..threads.daemons import Threads
from . import closing
from .admin import Admin
from .clients import Clients
from .notes import Notes
from .reader import Reader
from .topics import Topics

#: So long a partition is taken to have no less than it had: to ask costs more than to read some hundred records.
_KNOWN_S = 1.0

_NOTHING_KNOWN = Bounds(start=0, end=0), 0.0


class KafkaInspector:
    """Asks the cluster, and reads in a thread of its own."""

    def __init__(self, clients: Clients, admin: Admin, topics: Topics) -> None:
        self._admin, self._topics = admin, topics
        self._reader = Reader(clients)
        self._reading: Threads | None = Threads(1, "forebay-inspector")
        #: The bounds of partitions that are read, and when they were asked for.
        self._known: dict[tuple[str, int], tuple[Bounds, float]] = {}

    async def partitions(self, stream: str) -> int:
        """As in the contract."""
        return await self._topics.placed(stream)

    async def bounds(self, stream: str, only: Collection[int] | None = None) -> dict[int, Bounds]:
        """As in the contract."""
        partitions = [one for one in await self._topics.partitions(stream) if only is None or one in only]
        # The end last: it is never before the start then, whatever retention takes meanwhile.
        starts = await self._admin.starts(stream, partitions)
        tops = await self._admin.tops(stream, partitions)
        ends = await self._admin.ends(stream, partitions)
        return {
            number: Bounds(start=starts[number], end=ends[number], withheld=max(0, tops[number] - ends[number]))
            for number in partitions
        }

    async def read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
        """As in the contract."""
        now, place = asyncio.get_running_loop().time(), (stream, partition)
        bounds, asked_at = self._known.get(place, _NOTHING_KNOWN)
        if bounds.start <= offset < bounds.end and now - asked_at < _KNOWN_S:
            try:
                return await self._read(place, offset, bounds, max_records)
            except QueueError:
                # Retention may have taken it since, or the topic was made anew.
                self._known.pop(place, None)
        bounds = await self._bounds_of(stream, partition)
        self._known[place] = bounds, now
        return await self._read(place, offset, bounds, max_records)

    async def _read(self, place: tuple[str, int], offset: int, bounds: Bounds, max_records: int) -> list[StoredRecord]:
        first = max(offset, bounds.start)
        if first >= bounds.end:
            return []
        if self._reading is None:
            raise QueueUnavailable("this inspector was closed")
        read = partial(self._reader.read, *place, first, bounds.end, max_records)
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

    async def groups(self, stream: str, only: Collection[str] | None = None) -> dict[str, dict[int, GroupState]]:
        """As in the contract."""
        topic = await self._topics.found(stream)
        # For each of the groups the client of an own: no more of them than must be, and none that is in trouble.
        names = await self._admin.groups() if only is None else list(only)
        # The commits first: their answers show that the coordinators are there, without which `members` is in danger.
        commits = await asyncio.gather(*(self._admin.commits(name, stream, topic.partitions) for name in names))
        members, notes = await self._admin.members(names), Notes(topic.id)
        found = {
            name: _states(at, _owners(members[name], stream), notes) for name, at in zip(names, commits, strict=True)
        }
        return {name: states for name, states in found.items() if states}

    async def close(self) -> None:
        """As in the contract."""
        reading, self._reading = self._reading, None
        if reading is not None:
            await closing.in_time(reading.end(self._reader.close))


def _states(commits: list[TopicPartition], owners: Mapping[int, str], notes: Notes) -> dict[int, GroupState]:
    ours = {at.partition: at for at in commits if at.offset >= 0}
    return {
        number: GroupState(
            offset=ours[number].offset if number in ours else 0,
            note=notes.of(ours[number]) if number in ours else b"",
            owner=owners.get(number),
        )
        for number in sorted(ours.keys() | owners.keys())
    }


def _owners(group: ConsumerGroupDescription, stream: str) -> dict[int, str]:
    return {
        at.partition: f"{member.client_id}{member.host} {member.member_id}"
        for member in group.members
        for at in (member.assignment.topic_partitions if member.assignment else ())
        if at.topic == stream
    }
