"""Which events of a span of time a group has finished already, and may be handled again."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime

from forebay.console.planning import Plan, Planned
from forebay.console.reading import is_called, partitions_of, stream_ends
from forebay.console.times import to_ms
from forebay.processors.parking import entries
from forebay.processors.parking.orders import What
from forebay.processors.parking.state import FIRST, PortalState
from forebay.queues.contract import Inspector, StoredRecord
from forebay.queues.reading import between
from forebay.schemas import names
from forebay.schemas.codec import Codec
from forebay.schemas.errors import UndecodableEvent

from .orders import Marks, marks
from .parking_view import ParkingView, parking_views


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The events that are meant: received between two moments, of a portal and of a code; None takes all."""

    since: datetime
    until: datetime
    portal: str | None = None
    event: str | None = None

    def takes(self, record: StoredRecord, codec: Codec) -> bool:
        """Whether the record is meant."""
        is_of_portal = self.portal in (None, record.key)
        if not is_of_portal or not to_ms(self.since) <= record.timestamp_ms < to_ms(self.until):
            return False
        return self.event is None or self._is_named(record, codec)

    def _is_named(self, record: StoredRecord, codec: Codec) -> bool:
        try:
            return is_called(codec.decode(record.value).name, self.event or "*")
        except UndecodableEvent:
            return False


@dataclass(slots=True, kw_only=True)
class Found:
    """The events to be handled again, and why others are not."""

    plan: Plan = ()
    #: Named by an earlier replay to this group; and the last of those, in words.
    ordered_before: int = 0
    #: Not finished by the group: they come anyway.
    to_come: int = 0
    earlier: Marks = field(default_factory=Marks)
    #: Partition → the end of the audit stream before it was read.
    since: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Looks for the events of a span."""

    inspector: Inspector
    codec: Codec
    topic: str
    group: str
    span: Span
    #: Also what an earlier replay named.
    again: bool = False

    async def run(self) -> Found:
        """Read the topic from the span's beginning to its end: what waited in a spool stands behind later events."""
        partitions = partitions_of(self.span.portal, await self.inspector.partitions(self.topic))
        since = await stream_ends(self.inspector, names.audit(self.topic))
        found, plan = Found(since=since), dict[tuple[int, str], Planned]()
        found.earlier = await marks(
            self.inspector,
            self.topic,
            partitions,
            lambda order: (order.stream, order.group, order.what) == (self.topic, self.group, What.REPLAY),
        )
        async for view in parking_views(self.inspector, self.topic, [self.group], partitions):
            await self._search(view, found, plan)
        found.plan = list(plan.values())
        return found

    async def _search(self, view: ParkingView, found: Found, plan: dict[tuple[int, str], Planned]) -> None:
        partition, finished = view.partition, await self._finished(view)
        async for record in self._meant(partition):
            if not finished.has(record):
                found.to_come += 1
            elif not self.again and found.earlier.has(partition, record.offset):
                found.ordered_before += 1
            else:
                one = plan.setdefault(
                    (partition, record.key),
                    Planned(portal=record.key, partition=partition, group=self.group, stream=self.topic),
                )
                one.add(record.offset, record.offset)

    async def _meant(self, partition: int) -> AsyncIterator[StoredRecord]:
        start = await self.inspector.offset_at(self.topic, partition, to_ms(self.span.since))
        end = (await self.inspector.bounds(self.topic, [partition]))[partition].end
        async for record in between(self.inspector, self.topic, partition, start, end):
            if self.span.takes(record, self.codec):
                yield record

    async def _finished(self, view: ParkingView) -> "_Finished":
        """What the group has finished, of the partition."""
        waits_from: dict[str, int] = {}
        for portal, known in view.ledger.portals.items():
            if known.state.records:
                waits_from[portal] = await self._first_waiting(view.partition, known.state)
        return _Finished(before=view.committed, waits_from=waits_from)

    async def _first_waiting(self, partition: int, state: PortalState) -> int:
        """The topic's offset from which on the portal's records wait in the parked stream."""
        if state.after != FIRST:
            return state.after + 1
        records = await self.inspector.read(names.parked(self.topic), partition, state.next, 1)
        entry = entries.read(records[0], self.group) if records else None
        # Where that is gone, rather nothing of the portal than something twice.
        return entry.offset if isinstance(entry, entries.Spilled) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finished:
    before: int
    #: Portal → its records from this offset on wait in the parked stream.
    waits_from: dict[str, int]

    def has(self, record: StoredRecord) -> bool:
        return record.offset < min(self.before, self.waits_from.get(record.key, self.before))
