"""A queue in this process's memory, for unit tests: everything of the contract but durability."""

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, cycle, islice

from forebay.queues.contract import (
    Assignments,
    Bounds,
    Commit,
    Consumer,
    Delivery,
    GroupState,
    Inspector,
    PlacedRecord,
    Position,
    Producer,
    Promises,
    Queue,
    Record,
    StoredRecord,
    among,
)
from forebay.queues.errors import Fenced, QueueUnavailable, UnknownStream
from forebay.queues.findings import Finding, Needs
from forebay.queues.groups.parts import turned
from forebay.queues.making import new_streams, told
from forebay.queues.portals.contract import PortalStore
from forebay.queues.portals.memory import FactLog, MemoryPortalStore
from forebay.queues.presence import streams_found
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from forebay.schemas.portal import partition_of

_Log = list[StoredRecord]


@dataclass(kw_only=True)
class _Group:
    """Who is in a group of one stream, who owns what, and what is committed."""

    members: "list[MemoryConsumer]" = field(default_factory=list)
    owners: "dict[int, MemoryConsumer]" = field(default_factory=dict)
    commits: dict[int, Commit] = field(default_factory=dict)
    rebalancing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def share(self, logs: list[_Log]) -> None:
        """Let each member own its part of these."""
        # Others move because of it, whether or not it waits for them: half asked back, a partition would be nobody's.
        await asyncio.shield(asyncio.ensure_future(self._share(logs)))

    async def _share(self, logs: list[_Log]) -> None:
        async with self.rebalancing:
            wanted = dict(enumerate(islice(cycle(self.members), len(logs))))
            for partition, owner in list(self.owners.items()):
                if wanted.get(partition) is not owner:
                    await owner.give_back(partition)
                    del self.owners[partition]
            for partition, owner in wanted.items():
                if partition not in self.owners:
                    self.owners[partition] = owner
                    first = Commit(offset=0, is_reset=bool(logs[partition]))
                    owner.take_over(partition, self.commits.get(partition) or first)


class MemoryQueue:
    """Streams of one process. `down` makes every call fail with `QueueUnavailable`, as a queue that is gone does."""

    promises = Promises(durable=False, ordered=True, groups=True, shared=False, replay=True, note_bytes=65_536)

    def __init__(self) -> None:
        self.down = False
        self.logs: dict[str, list[_Log]] = {}
        self.group_states: dict[tuple[str, str], _Group] = defaultdict(_Group)
        self.written = asyncio.Event()
        self.fact_logs: dict[str, FactLog] = {}

    async def missing(self, streams: Iterable[str], partitions: int) -> list[str]:
        """As in the contract."""
        self.check_up()
        return [told(name, partitions) for name in new_streams(streams, partitions, self._has)]

    async def ensure(self, streams: Iterable[str], partitions: int) -> list[str]:
        """As in the contract."""
        streams = list(streams)
        made = await self.missing(streams, partitions)
        for name in streams:
            self.logs.setdefault(name, [[] for _ in range(partitions)])
        return made

    async def trim(self, stream: str, before: Mapping[int, int]) -> bool:
        """As in `Trims`, whatever the age; a partition's last record stays, as the next one is counted from it."""
        for number, end in before.items():
            log = self.partitions(stream)[number]
            del log[: min(_at(log, end), len(log) - 1)]
        return False

    async def diagnose(self, needs: Needs) -> AsyncIterator[Finding]:
        """As in the contract."""
        yield await streams_found(self, needs)

    def _has(self, name: str) -> int | None:
        return len(self.logs[name]) if name in self.logs else None

    def partitions(self, stream: str) -> list[_Log]:
        """The logs of a stream, one a partition."""
        self.check_up()
        if stream not in self.logs:
            raise UnknownStream(f"there is no stream {stream}; `forebay topics ensure` makes it")
        return self.logs[stream]

    def check_up(self) -> None:
        """Raise when the queue was put down."""
        if self.down:
            raise QueueUnavailable("the memory queue was put down")

    def producer(self) -> Producer:
        """As in the contract."""
        return MemoryProducer(self)

    def consumer(self, stream: str, group: str, *, session_s: float = 10.0) -> Consumer:
        """As in the contract; a member can't die alone here, so the session has no end."""
        return MemoryConsumer(self, stream, group)

    def inspector(self) -> Inspector:
        """As in the contract."""
        return MemoryInspector(self)

    def portals(self, topic: str) -> PortalStore:
        """As in the contract. It has a `down` of its own."""
        name = names.portals(topic)
        return MemoryPortalStore(self.fact_logs.setdefault(name, FactLog(name)))

    async def close(self) -> None:
        """As in the contract."""


class MemoryProducer(Producer):
    """Appends."""

    def __init__(self, queue: MemoryQueue) -> None:
        self._queue = queue

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        """As in the contract."""
        logs = self._queue.partitions(stream)
        partition = partition_of(record.key, len(logs))
        log = logs[partition]
        offset = log[-1].offset + 1 if log else 0
        log.append(
            PlacedRecord(
                key=record.key,
                value=record.value,
                timestamp_ms=record.timestamp_ms,
                headers=record.headers,
                stream=stream,
                partition=partition,
                offset=offset,
            )
        )
        self._queue.written.set()
        delivery.set_result(Position(partition=partition, offset=offset))

    async def check(self) -> None:
        """As in the contract."""
        self._queue.check_up()

    async def close(self) -> None:
        """As in the contract."""


class MemoryConsumer:
    """A member of a group; a join or a leave moves the partitions at once."""

    _ids = count(1)

    def __init__(self, queue: MemoryQueue, stream: str, group: str) -> None:
        self.name = f"memory-{next(self._ids)}"
        self._queue, self._stream = queue, stream
        self._group = queue.group_states[stream, group]
        self.positions: dict[int, int] = {}
        self._assignments: Assignments
        self._turn = 0
        self._is_closed = False

    async def start(self, assignments: Assignments) -> None:
        """As in the contract."""
        logs = self._queue.partitions(self._stream)
        self._assignments = assignments
        self._group.members.append(self)
        await self._group.share(logs)

    async def fetch(self, max_records: int, timeout_s: float) -> list[StoredRecord]:
        """As in the contract."""
        found = self._take(max_records)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not found and not self._is_closed:
                    self._queue.written.clear()
                    await self._queue.written.wait()
                    found = self._take(max_records)
        return found

    def _take(self, max_records: int) -> list[StoredRecord]:
        logs = self._queue.partitions(self._stream)
        found: list[StoredRecord] = []
        self._turn += 1
        for partition in turned(sorted(self.positions), self._turn):
            records = _from(logs[partition], self.positions[partition], max_records - len(found))
            if records:
                self.positions[partition] = records[-1].offset + 1
                found += records
        return found

    async def commit(self, commits: Mapping[int, Commit]) -> None:
        """As in the contract."""
        self._queue.check_up()
        ours = {partition for partition in commits if self._group.owners.get(partition) is self}
        self._group.commits.update({partition: commits[partition] for partition in ours})
        if len(ours) < len(commits):
            raise Fenced(commits.keys() - ours)

    async def close(self) -> None:
        """As in the contract."""
        if self in self._group.members:
            self._group.members.remove(self)
            await self._group.share(self._queue.logs[self._stream])
            # A fetch that waits has nothing to wait for any more.
            self._is_closed = True
            self._queue.written.set()

    async def give_back(self, partition: int) -> None:
        """Let the user finish with the partition; it may still commit it meanwhile."""
        self.positions.pop(partition, None)
        await self._assignments.revoked(partition)

    def take_over(self, partition: int, committed: Commit) -> None:
        """Own the partition from its commit on."""
        self.positions[partition] = committed.offset
        self._assignments.assigned(partition, committed)
        self._queue.written.set()


class MemoryInspector:
    """Looks at the logs."""

    def __init__(self, queue: MemoryQueue) -> None:
        self._queue = queue

    async def partitions(self, stream: str) -> int:
        """As in the contract."""
        return len(self._queue.partitions(stream))

    async def bounds(self, stream: str, only: Collection[int] | None = None) -> dict[int, Bounds]:
        """As in the contract."""
        logs = self._queue.partitions(stream)
        found = {
            number: Bounds(start=log[0].offset, end=log[-1].offset + 1) if log else Bounds(start=0, end=0)
            for number, log in enumerate(logs)
        }
        return among(found, only)

    async def read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
        """As in the contract."""
        return _from(self._queue.partitions(stream)[partition], offset, max_records)

    async def offset_at(self, stream: str, partition: int, timestamp_ms: int) -> int:
        """As in the contract."""
        log = self._queue.partitions(stream)[partition]
        end = log[-1].offset + 1 if log else 0
        return next((record.offset for record in log if record.timestamp_ms >= timestamp_ms), end)

    async def groups(self, stream: str, only: Collection[str] | None = None) -> dict[str, dict[int, GroupState]]:
        """As in the contract."""
        self._queue.partitions(stream)
        states = {group: _shown(state) for (of, group), state in self._queue.group_states.items() if of == stream}
        return among(states, only)

    async def close(self) -> None:
        """As in the contract."""


def _from(log: _Log, offset: int, max_records: int) -> list[StoredRecord]:
    at = _at(log, offset)
    return log[at : at + max_records]


def _at(log: _Log, offset: int) -> int:
    return bisect_left(log, offset, key=lambda record: record.offset)


def _shown(state: _Group) -> dict[int, GroupState]:
    shown = {}
    for partition in state.commits.keys() | state.owners.keys():
        commit, owner = state.commits.get(partition, Commit(offset=0)), state.owners.get(partition)
        shown[partition] = GroupState(offset=commit.offset, note=commit.note, owner=owner.name if owner else None)
    return shown


#: Name in the URL → queue: two parts that open `memory://a` in one process mean the same one.
_QUEUES: dict[str, MemoryQueue] = {}


def open_queue(settings: QueueSettings) -> Queue:
    """The queue of that name in this process; `memory://` alone is a fresh one each time."""
    name = settings.queue_url.partition("://")[2]
    return _QUEUES.setdefault(name, MemoryQueue()) if name else MemoryQueue()
