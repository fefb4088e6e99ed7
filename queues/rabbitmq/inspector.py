"""Looking at the queue from outside of any group."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress

from forebay.queues.contract import Bounds, Commit, GroupState, PlacedRecord, StoredRecord

from .address import Address
from .catalog import Catalog, unknown
from .chronicle import Chronicle, GroupGone, gone
from .faults import NotThere
from .finding import bounds, end, fresh, places, tail, way_to
from .group import Group
from .lane import Lane
from .logs import group_log, partition_log
from .looking import MOST, look
from .places import Placed
from .records import record
from .writer import Writer


class RabbitmqInspector:
    """Looks into streams; the groups' streams it follows, once it was asked for them."""

    def __init__(self, address: Address, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._writer = Writer(address, "inspector")
        self._catalog = Catalog(self._writer)
        self._groups: dict[str, tuple[Lane, Chronicle]] = {}
        #: What was read last of a partition's stream.
        self._met: dict[str, Placed] = {}
        self._now_ms = now_ms

    async def partitions(self, stream: str) -> int:
        """As in the contract."""
        return await self._catalog.partitions(stream)

    async def bounds(self, stream: str, only: Collection[int] | None = None) -> dict[int, Bounds]:
        """As in the contract."""
        numbers = [one for one in range(await self._catalog.partitions(stream)) if only is None or one in only]
        connection = await self._writer.connection()
        with _told(stream):
            found = await asyncio.gather(*(bounds(connection, partition_log(stream, number)) for number in numbers))
        return dict(zip(numbers, found, strict=True))

    async def read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
        """As in the contract."""
        with _told(stream):
            return await self._read(stream, partition, offset, max_records)

    async def _read(self, stream: str, partition: int, offset: int, max_records: int) -> list[StoredRecord]:
        queue, connection = await self._queue(stream, partition), await self._writer.connection()
        last = await tail(connection, queue)
        if offset >= end(last):
            return []
        met, found = self._met.get(queue), list[PlacedRecord]()
        # Who reads on does not look for the way again.
        goes_on = met is not None and met.place == offset - 1 and met.at < last[-1][0]
        at = met.at + 1 if met is not None and goes_on else await way_to(connection, queue, offset, last)
        while not found and offset < end(last):
            entries = await look(connection, queue, at, max_records)
            at, here = entries[-1][0] + 1, places(entries)
            if goes_on and here and here[0].place > offset:
                # It has lost its end since, and got it again elsewhere.
                at = await way_to(connection, queue, offset, last)
            elif taken := fresh(here, offset)[:max_records]:
                made = (record(stream, partition, one.place, one.entry) for one in taken)
                found = [one for one in made if one is not None]
                offset, at, self._met[queue] = taken[-1].place + 1, taken[-1].at + 1, taken[-1]
            goes_on = goes_on and not here
        return list[StoredRecord](found)

    async def _queue(self, stream: str, partition: int) -> str:
        if partition >= await self._catalog.partitions(stream):
            raise unknown(f"{stream} with a partition {partition}")
        return partition_log(stream, partition)

    async def offset_at(self, stream: str, partition: int, timestamp_ms: int) -> int:
        """As in the contract; looks at the records one by one, since the broker knows its own times only."""
        with _told(stream):
            end = (await bounds(await self._writer.connection(), await self._queue(stream, partition))).end
        offset = 0
        while records := await self.read(stream, partition, offset, MOST):
            for one in records:
                if one.timestamp_ms >= timestamp_ms:
                    return one.offset
            offset = records[-1].offset + 1
        return max(end, offset)

    async def groups(self, stream: str, only: Collection[str] | None = None) -> dict[str, dict[int, GroupState]]:
        """As in the contract; of a group whose stream was deleted nothing is known."""
        shown = {}
        for name in await self._catalog.groups(stream):
            if only is not None and name not in only:
                continue
            with suppress(GroupGone):
                shown[name] = self._shown(await self._group(group_log(stream, name)))
        return shown

    async def _group(self, queue: str) -> Group:
        if queue not in self._groups:
            chronicle = Chronicle()
            with gone(queue):
                self._groups[queue] = await self._writer.follow(queue, chronicle), chronicle
        lane, chronicle = self._groups[queue]
        try:
            with gone(queue):
                await lane.catch_up()
        except GroupGone:
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


@contextmanager
def _told(stream: str) -> Iterator[None]:
    try:
        yield
    except NotThere as error:
        raise unknown(stream, error) from error
