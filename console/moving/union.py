"""What any of several groups has not finished of a partition, in one order."""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from forebay.queues.contract import StoredRecord
from forebay.queues.reading import between

from .lacking import Lacking, Waits, What, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Union:
    """The unfinished parts of each group, of one partition: replays, and then all in the order of the topic.

    A group gets again what it has finished and another has not.
    """

    parts: Sequence[Lacking]

    @property
    def lost(self) -> int:
        """As of one group."""
        return max(part.lost for part in self.parts)

    async def all(self) -> AsyncIterator[Waits]:
        """All of it, in the order of each portal."""
        places: set[int] = set()
        #: What is parked: retention takes it from the topic whenever it likes.
        parked: dict[int, Waits] = {}
        for part in self.parts:
            async for one in part.all():
                if one.what is What.REPLAYED:
                    yield one
                    continue
                places.add(one.place)
                if one.what is What.PARKED:
                    parked.setdefault(one.place, one)
        async for one in self._in_order(places, parked):
            yield one

    async def _in_order(self, places: set[int], parked: dict[int, Waits]) -> AsyncIterator[Waits]:
        gone = deque(sorted(parked))
        async for record in self._topic(min(places, default=None)):
            while gone and gone[0] < record.offset:
                yield parked[gone.popleft()]
            if gone and gone[0] == record.offset:
                gone.popleft()
            if record.offset in places:
                yield Waits(what=What.EVENTS, record=plain(record), place=record.offset)
        for place in gone:
            yield parked[place]

    def _topic(self, place: int | None) -> AsyncIterator[StoredRecord]:
        """What the topic has from the place on."""
        first = self.parts[0]
        kept, view = first.bounds, first.view
        start = kept.end if place is None else max(place, kept.start)
        return between(first.inspector, view.topic, view.partition, start, kept.end)
