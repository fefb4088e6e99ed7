"""What any of several groups has not finished of a partition, in one order."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from forebay.console.reading import between

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
        first = self.parts[0]
        places: set[int] = set()
        #: What the topic has no longer: it is parked, and kept for that.
        old: dict[int, Waits] = {}
        for part in self.parts:
            async for one in part.all():
                if one.what is What.REPLAYED:
                    yield one
                elif one.place < first.bounds.start:
                    old.setdefault(one.place, one)
                else:
                    places.add(one.place)
        for place in sorted(old):
            yield old[place]
        start = min(places, default=first.bounds.end)
        standing = first.standing
        async for record in between(first.inspector, standing.topic, standing.partition, start, first.bounds.end):
            if record.offset in places:
                yield Waits(what=What.EVENTS, record=plain(record), place=record.offset)
