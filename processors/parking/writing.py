"""Writes what is to be spilled of a portal, and what is told of it: in one order, so by one task a portal."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import NamedTuple

from forebay.processors.held import Held
from forebay.processors.partitions import Partition
from forebay.queues.contract import Record, StoredRecord
from forebay.queues.errors import QueueError
from forebay.schemas.logger import get_logger

from . import entries
from .portal import ParkedPortal
from .state import FIRST
from .stream import ParkedStream

_log = get_logger(__name__)

#: Records of a portal on their way at once; one that is not kept lets those behind it be sent again.
_SPILL_RECORDS = 50

#: A new owner reads no more than about so many records to know who is parked…
_LONGEST_READ = 10_000
#: …or so many for each portal: what is said again of one must not make it time for all the others.
_READ_PER_PORTAL = 4

#: Between two attempts at what the parked stream did not take.
_AGAIN_S = 1.0


class Spill(NamedTuple):
    """A record of the topic, which spilled record it says to stand behind, its lap, and as what it is kept."""

    record: StoredRecord
    after: int
    lap: int
    kept: Record


class Writing:
    """Of one partition."""

    def __init__(
        self,
        partition: Partition,
        stream: ParkedStream,
        held: Held,
        written: Callable[[ParkedPortal], None],
        lost: Callable[[int], None],
        generation: int,
    ) -> None:
        self._partition, self._stream, self._held, self._written, self._lost = partition, stream, held, written, lost
        self.generation = generation
        #: The position behind what we know to be kept.
        self.tail = 0
        #: What the stream said when it last took nothing; empty when it takes.
        self.trouble = ""
        self._is_closed = False

    def kept(self, position: int, tail: int) -> None:
        """Something of ours stands there in the parked stream; `tail` is as it was before that was written."""
        if position < tail:
            # Where something of ours stood already.
            self.tail = min(self.tail, position)
            self._lost(position)
        self.tail = max(self.tail, position + 1)

    def close(self) -> None:
        """Spill no more than it takes to tell what is done; that, and what else is known of portals, is still told."""
        self._is_closed = True

    def begin(self, portal: ParkedPortal) -> None:
        """See to it that what is to be written of the portal is written."""
        if portal.writer is None:
            portal.writer = asyncio.ensure_future(self._write(portal))

    def begin_all(self, portals: Collection[ParkedPortal]) -> None:
        """The same of all that are parked; what was said of one too long ago is said again."""
        oldest = self.tail - max(_LONGEST_READ, _READ_PER_PORTAL * len(portals))
        for portal in portals:
            if portal.anchor is not None and portal.anchor < oldest:
                portal.is_dirty = True
            if portal.is_dirty or portal.to_spill:
                self.begin(portal)

    async def _write(self, portal: ParkedPortal) -> None:
        if portal.anchor is None:
            # Before it is written: it may be kept long before we hear of it, and then counts from where it stands.
            portal.anchor = self.tail
        try:
            while portal.is_dirty or self._may_spill(portal):
                try:
                    await self._write_some(portal)
                    self.trouble = ""
                except QueueError as error:
                    if str(error) != self.trouble:
                        # Once, and not for each portal that waits, once a second, for as long as it lasts.
                        _log.warning("not parked; trying again", portal=portal.portal, error=str(error))
                    self.trouble = str(error)
                    await asyncio.sleep(_AGAIN_S)
        except Exception as error:
            # The records stay unfinished, and the next look at the portal begins a new task.
            _log.error("not parked: a fault", portal=portal.portal, error=repr(error))
        finally:
            portal.writer = None
        self._written(portal)

    async def _write_some(self, portal: ParkedPortal) -> None:
        if self._may_spill(portal):
            await self._stream.pace.begin(min(len(portal.to_spill), _SPILL_RECORDS))
        # A state in which nothing waits yet would say that nothing is parked: it comes behind what is spilled.
        while portal.is_dirty and not (self._may_spill(portal) and portal.state.is_free):
            await self._tell(portal)
            self.trouble = ""
        if self._may_spill(portal):
            await self._spill(portal)

    def _may_spill(self, portal: ParkedPortal) -> bool:
        if not self._is_closed:
            return bool(portal.to_spill)
        # Told as done can be only what is spilled. The others may be left to the next owner; this would come again.
        return any(portal.is_done(record) for record in portal.to_spill)

    async def _tell(self, portal: ParkedPortal) -> None:
        portal.is_dirty, state = False, portal.told()
        orders, first, tail = state.orders, state.first, self.tail
        record = entries.statement(portal.portal, state, self._whose, self._stream.now_ms())
        try:
            position = await self._stream.write(record)
        except BaseException:
            portal.is_dirty = True
            raise
        # Not before it is kept: a commit that says that an order was obeyed must not be ahead of what it led to.
        if portal.state.orders == orders:
            portal.order = None
        self.kept(position, tail)
        portal.anchor, portal.kept_first = position, first
        self._partition.has_news = True
        if not portal.is_dirty:
            self._finish_behind(portal)

    async def _spill(self, portal: ParkedPortal) -> None:
        batch, tail = list(self._batch(portal)), self.tail
        results = await asyncio.gather(*[self._stream.begin(spill.kept) for spill in batch], return_exceptions=True)
        for spill, result in zip(batch, results, strict=True):
            if isinstance(result, BaseException):
                raise result
            self.kept(result.offset, tail)
            self._spilled(portal, spill, result.offset)
        self._written(portal)

    def _batch(self, portal: ParkedPortal) -> Iterator[Spill]:
        """The next records to be spilled, each with the number of those that are finished with it."""
        after, lap = portal.state.last if portal.state.records else FIRST, portal.state.lap
        at_ms = self._stream.now_ms()
        for record in islice(portal.to_spill, _SPILL_RECORDS):
            folded = self._partition.folded_into(record)
            yield Spill(record, after, lap, entries.spill(record, self._whose, after, at_ms, folded, lap))
            after = record.offset

    def _spilled(self, portal: ParkedPortal, spill: Spill, position: int) -> None:
        portal.spilled(spill.record, spill.after, spill.lap, position)
        self._partition.finish_offset(spill.record.offset)
        if not portal.has_in_hand(spill.record):
            self._held.remove(spill.record)

    def _finish_behind(self, portal: ParkedPortal) -> None:
        behind, portal.behind = portal.behind, []
        for offset in behind:
            self._partition.finish_offset(offset)

    @property
    def _whose(self) -> entries.Whose:
        return self._stream.group, self.generation
