"""The two queues of a move, and whether anybody is at work on them."""

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass

from forebay.console.settings import Settings
from forebay.console.stillness import Places, at_work, ends, places, went_on, written
from forebay.queues.contract import GroupState, Inspector, Queue
from forebay.queues.errors import UnknownStream
from forebay.queues.moves.marker import Ends, Marker, Markers, UnreadableMarker
from forebay.schemas import names

from .errors import CantMove, NotNow
from .lacking import lacking


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the queues."""

    name: str
    settings: Settings
    queue: Queue
    inspector: Inspector

    @property
    def topic(self) -> str:
        """The topic's name, which is the same on both sides."""
        return self.settings.topic

    async def ends(self) -> Ends:
        """Where its streams end."""
        return await ends(self.inspector, self.topic)

    async def groups(self) -> Mapping[str, Mapping[int, GroupState]]:
        """How far each group is."""
        return await self.inspector.groups(self.topic)

    async def places(self) -> Places:
        """What each group has committed."""
        return places(await self.groups())

    async def last_move(self) -> Marker | None:
        """The last one from here; None where there was none, or it was moved into again. Raises `CantMove`."""
        try:
            return await Markers(self.topic).last(self.inspector)
        except UnreadableMarker as error:
            raise CantMove(f"{error}: say --again to go by none") from error

    async def went_on(self, before: Places) -> AsyncIterator[str]:
        """Whose workers have finished something since the groups were there, in words."""
        for group, partitions in went_on(before, await self.places()):
            yield f"workers of group {group} went on with {self.name} meanwhile, in partitions {partitions}"

    async def at_work(self) -> AsyncIterator[str]:
        """Whose workers run, in words."""
        for group, partitions in at_work(await self.groups()):
            yield (
                f"workers of group {group} run on {self.name}, with partitions {partitions}: stop them first (one that "
                "died has them for session_s)"
            )

    async def check(self, before: Ends, reached: Places) -> None:
        """Raise `NotNow` when something was written, or finished, since it was so, or a worker has started."""
        reasons = [reason async for reason in self.at_work()]
        reasons += [f"{reason}: stop them, and run the same again" async for reason in self.went_on(reached)]
        if where := written(before, await self.ends()):
            reasons.append(f"{self.name} is written to ({where}): stop the ingest on every host, and let nothing drain")
        if reasons:
            raise NotNow(reasons)


async def is_there(side: Side) -> bool:
    """Whether the side has its streams. One that has others of them than it should raises `QueueError`."""
    if await side.queue.missing(names.streams(side.topic), side.settings.partitions):
        return False
    try:
        await side.inspector.bounds(side.topic)
    except UnknownStream:
        return False
    return True


async def unfinished(side: Side, groups: Collection[str]) -> AsyncIterator[str]:
    """The groups of the side (and these) that have not finished what is there, in words."""
    if not any(end for numbers in (await side.ends()).values() for end in numbers.values()):
        return
    for name in sorted({*groups, *(await side.groups())}):
        if await _lacks_something(side, name):
            yield (
                f"{side.name} has events that group {name} has not finished, and what is moved would come behind them: "
                "let its workers finish, and stop them"
            )


async def _lacks_something(side: Side, group: str) -> bool:
    for part in await lacking(side.inspector, side.topic, group):
        async for _ in part.all():
            return True
    return False
