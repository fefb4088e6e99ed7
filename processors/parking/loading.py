"""Loads records of parked portals again: one pass over the stream serves all that are at about the same place."""

import asyncio
from collections.abc import Callable, Mapping
from itertools import islice

from forebay.processors.held import Held
from forebay.processors.partitions import Lane
from forebay.queues.contract import StoredRecord
from forebay.queues.reading import BATCH_RECORDS
from forebay.schemas.logger import get_logger

from .portal import ParkedPortal
from .restored import Restored
from .stream import ParkedStream

_log = get_logger(__name__)

#: So many loaded records a portal has in memory: its share of the room, but no more and no less than these. It is
#: loaded again when a quarter of them is left.
_MOST_RECORDS = 256
_LEAST_RECORDS = 16

#: Nobody knows at first how fast a portal gets through its records, and many may come at once.
_FIRST_RECORDS = 4

#: What waits for its budget in memory keeps others from their room: no more than what is due in this time, or while
#: there is little room in a second.
_LOADED_S = 5.0

#: Where the last event about an object stands for the others, all that wait are looked at as long as no more are kept.
_FOLDED_RECORDS = 1000

#: So many are read for one that is tried again, unless none was among the last: it is but one, and mostly stands there.
_TRY_RECORDS = 50

#: So far before a portal's place reading begins where others wait, of whom so many are looked at. It is less than what
#: is read at once.
_BEFORE = BATCH_RECORDS // 2
_LOOKED_AT = 1000

#: Who has waited for its turn for so long comes next, wherever its records stand.
_LONGEST_TURN_S = 10.0

#: Between two looks for what isn't there, or at a queue that doesn't answer.
_AGAIN_S = 1.0

#: What was kept can be read a moment later. What can't be read after so many looks is gone.
_LOOKS = 10


class Loading:
    """Of one partition. Portals take turns; each gets what fits into its part of the memory."""

    def __init__(
        self,
        partition: int,
        stream: ParkedStream,
        portals: Mapping[str, ParkedPortal],
        room: Held,
        loaded: Callable[[ParkedPortal, list[Restored]], None],
    ) -> None:
        self._partition, self._stream, self._portals, self._room = partition, stream, portals, room
        self._loaded = loaded
        #: What a stream said when it could not be read; empty when it can.
        self.trouble = ""
        #: Those whose lanes are nearly empty → since when; who has waited longest comes first.
        self._turns: dict[str, float] = {}
        #: The stream that was read last, and from where on there is more.
        self._at = "", 0
        #: The last look gave nobody anything.
        self._was_in_vain = False
        self._news = asyncio.Event()
        self._is_closed = False

    def want(self, portal: ParkedPortal, lane: Lane | None) -> None:
        """It may be loaded: with others that stand near it, and by itself when its lane is nearly empty."""
        waiting = len(lane.records) if lane is not None else 0
        few, most = self._appetite(portal, lane)
        # Whether the trouble is over one record shows as well as many.
        portal.takes = max(0, (1 if portal.state.attempts else most) - waiting)
        if waiting <= few and portal.takes:
            self._turns.setdefault(portal.portal, asyncio.get_running_loop().time())
            self._news.set()

    def _appetite(self, portal: ParkedPortal, lane: Lane | None) -> tuple[int, int]:
        """At how many records in memory it is loaded again, and how many it has then."""
        outlook = lane.outlook if lane is not None else None
        is_roomy = self._room.is_roomy
        if portal.is_new:
            return 0, _FIRST_RECORDS if is_roomy else 1
        if outlook is not None and outlook.folding is not None and is_roomy:
            return _FOLDED_RECORDS, _FOLDED_RECORDS + _MOST_RECORDS
        if outlook is not None:
            portal.per_s = outlook.per_s
        if portal.per_s is not None:
            most = max(1, min(int(portal.per_s * (_LOADED_S if is_roomy else 1)), _MOST_RECORDS))
            return most // 4, most
        most = max(_LEAST_RECORDS, min(self._room.share, _MOST_RECORDS))
        return most // 4, most

    def close(self) -> None:
        """Load nothing any more."""
        self._is_closed = True
        self._turns.clear()

    async def run(self) -> None:
        """Load, until it is closed or cancelled."""
        while not self._is_closed:
            await self._news.wait()
            await self._room.room()
            portal = self._next()
            if portal is None:
                # Nothing is to be read, and nothing hinders it.
                self.trouble = ""
                self._news.clear()
                continue
            try:
                await self._pass(portal)
                self.trouble = ""
            except Exception as error:
                # A fault, too, may be of this portal's records alone: the others take their turns.
                self._put_last(portal)
                trouble = f"parked records can't be read: {error}"
                if trouble != self.trouble:
                    _log.warning("parked records can't be read; trying again", portal=portal.portal, error=repr(error))
                self.trouble = trouble
                await asyncio.sleep(_AGAIN_S)

    def _next(self) -> ParkedPortal | None:
        """Whose turn it is: who stands next behind what was read, with all near it; at the end it begins anew."""
        waiting = []
        for name in list(self._turns):
            portal = self._portals.get(name)
            if portal is not None and portal.takes and portal.wants:
                waiting.append(portal)
            else:
                del self._turns[name]
        if not waiting:
            return None
        first = waiting[0]
        if asyncio.get_running_loop().time() - self._turns[first.portal] > _LONGEST_TURN_S:
            return first
        return min(waiting, key=self._distance)

    def _distance(self, portal: ParkedPortal) -> tuple[bool, tuple[str, int]]:
        place = portal.source(self._stream.name)
        return place < self._at, place

    def _put_last(self, portal: ParkedPortal) -> None:
        if portal.portal in self._turns:
            del self._turns[portal.portal]
            self._turns[portal.portal] = asyncio.get_running_loop().time()

    async def _pass(self, portal: ParkedPortal) -> None:
        is_tried = portal.state.attempts > 0
        stream, start = portal.source(self._stream.name) if is_tried else self._place(portal)
        # Where nothing can be read, others come before it is tried again.
        self._at = stream, start + 1
        count = _TRY_RECORDS if is_tried and not self._was_in_vain else BATCH_RECORDS
        records = await self._stream.read(stream, self._partition, start, count)
        if self._is_closed:
            return
        if not records:
            await self._nothing_there(portal)
            return
        self._deal(stream, start, records)

    def _place(self, portal: ParkedPortal) -> tuple[str, int]:
        """From where to load: a little before its place, where others are that take some, too.

        Who is ahead runs out first. Loaded from its own place it would stay ahead, and all would be read for each.
        """
        stream, start = portal.source(self._stream.name)
        others = [one for one in islice(self._portals.values(), _LOOKED_AT) if one.takes and one.wants]
        places = [one.source(self._stream.name) for one in others]
        return stream, min((at for of, at in places if of == stream and start - _BEFORE <= at < start), default=start)

    def _deal(self, stream: str, start: int, records: list[StoredRecord]) -> None:
        """Give the records that stand from the start on to all that can go on from there."""
        found: dict[str, list[Restored]] = {}
        # Who has room for some takes them now: in its own turn it would have all of this read once more.
        names = dict.fromkeys([*self._turns, *(record.key for record in records)])
        near = [self._portals.get(name) for name in names]
        served = {one.portal: one for one in near if one is not None and one.takes and one.wants}
        served = {name: one for name, one in served.items() if self._stands(one, stream, start)}
        end = records[-1].offset + 1
        for record in records:
            portal = served.get(record.key)
            if portal is None or not self._stands(portal, stream, start, record.offset + 1):
                continue
            if self._room.is_full:
                end = record.offset
                break
            replay = portal.replay
            restored = portal.take(record, self._stream.topic, self._stream.group)
            theirs = found.setdefault(record.key, [])
            if restored is not None:
                self._room.add([restored])
                theirs.append(restored)
                portal.takes -= 1
            # Also behind one that is done already: what stands there may be a copy of what is not known to be kept.
            # And where nothing was left of a replay: what comes next is of another place, and may be this very record.
            if not portal.takes or not portal.wants or portal.replay is not replay:
                del served[record.key]
        self._at, self._was_in_vain = (stream, end), not any(found.values())
        for name, portal in served.items():
            portal.passed(end)
            found.setdefault(name, [])
        for name, restored_ones in found.items():
            portal = self._portals[name]
            if portal.takes and portal.wants:
                self._put_last(portal)
            else:
                self._turns.pop(name, None)
            self._loaded(portal, restored_ones)

    def _stands(self, portal: ParkedPortal, stream: str, start: int, end: int | None = None) -> bool:
        of, at = portal.source(self._stream.name)
        return of == stream and start <= at and (end is None or at < end)

    async def _nothing_there(self, portal: ParkedPortal) -> None:
        portal.looks += 1
        if portal.looks < _LOOKS:
            self._put_last(portal)
            await asyncio.sleep(_AGAIN_S)
            return
        portal.looks = 0
        portal.give_up_lost()
        self._loaded(portal, [])
