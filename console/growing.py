"""More partitions for streams that are there: only when no portal can have an event before and behind the change."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from dataclasses import dataclass

from forebay.queues.contract import Bounds, GroupState, Grows, Inspector, Queue
from forebay.queues.errors import Unsupported
from forebay.queues.moves.marker import Ends
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from forebay.schemas.errors import ForebayError

from .letters.letters import open_records
from .orders.parking_view import parking_views
from .stillness import Sleep, at_work, ends, watch, withheld, written

_STOP_INGEST = "stop the ingest on every host, let the workers finish, stop them too, and try again"


class NotQuiet(ForebayError):
    """The partitions can't become more just now, as it would break the order of portals; the message lists why."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("\n".join(["the number of partitions stays as it is:", *(f"  - {one}" for one in reasons)]))


class WrittenMeanwhile(ForebayError):
    """The partitions are more now, and somebody wrote in the moment of the change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The streams of a topic on their way to so many partitions."""

    queue: Queue
    inspector: Inspector
    settings: QueueSettings
    partitions: int
    sleep: Sleep = asyncio.sleep

    async def plan(self) -> list[str]:
        """What will be done, a sentence each. Raises `Unsupported` or `QueueError` where it can't be done."""
        return await self._grow(only_plan=True)

    async def _grow(self, *, only_plan: bool) -> list[str]:
        if not isinstance(self.queue, Grows):
            raise Unsupported(
                "queue_url: this queue can't get more partitions; set topic to a new name and partitions to the new "
                "number, once the workers have finished what is in the old one"
            )
        return await self.queue.grow(names.streams(self.settings.topic), self.partitions, only_plan=only_plan)

    async def watched(self) -> Ends:
        """The streams' ends, once nothing was written for a while, nobody reads, and all is finished.

        Raises `NotQuiet` with every reason that there is.
        """
        before = await ends(self.inspector, self.settings.topic)
        reasons = [reason async for reason in _unfinished(self.inspector, self.settings)]
        if reasons:
            raise NotQuiet(reasons)
        await watch(lambda: self.check(before), self.sleep)
        return before

    async def check(self, before: Ends) -> None:
        """Raise `NotQuiet` when something was written since the ends were these, or a worker has started."""
        reasons = list(_reading(await self.inspector.groups(self.settings.topic)))
        if where := written(before, await ends(self.inspector, self.settings.topic)):
            reasons.append(f"events come in ({where}): {_STOP_INGEST}")
        if reasons:
            raise NotQuiet(reasons)

    async def carry_out(self, before: Ends) -> None:
        """Make them more. Raises `WrittenMeanwhile` when a portal's order may be broken, however unlikely that is."""
        await self._grow(only_plan=False)
        if where := written(before, await ends(self.inspector, self.settings.topic)):
            raise WrittenMeanwhile(
                f"there are {self.partitions} partitions now, but events came in meanwhile ({where}); portals that "
                "have events there may have later ones in other partitions: let the workers finish with the ingest "
                "stopped before you start it again"
            )


async def _unfinished(inspector: Inspector, settings: QueueSettings) -> AsyncIterator[str]:
    """Every reason why an event may still be handled, or read, under the old number."""
    topic = settings.topic
    async for reason in withheld(inspector, topic):
        yield reason
    bounds = await inspector.bounds(topic)
    groups = await inspector.groups(topic)
    for reason in _reading(groups):
        yield reason
    # A group that never committed is not there yet; ours will come, and has then finished nothing.
    for group, states in {settings.group: {}, **groups}.items():
        if left := [number for number in bounds if await _waits(inspector, topic, number, bounds[number], states)]:
            yield f"group {group} has not finished partitions {_listed(left)}: stop the ingest, and let it finish"
    for group, waiting in (await _parked(inspector, topic, sorted({settings.group, *groups}))).items():
        yield (
            f"{waiting} parked portals or orders wait in group {group}: let the workers finish them, or resume or "
            f"discard them (forebay parked list --group {group})"
        )
    for stream, command in ((names.dead(topic), "dead"), (names.quarantine(topic), "quarantine")):
        # An order names a letter by its offset, in the partition of its key: that would be another one.
        if count := len([record async for record in open_records(inspector, topic, stream)]):
            yield f"{count} open in {stream}: replay or discard them first (forebay {command} list)"


def _reading(groups: Mapping[str, Mapping[int, GroupState]]) -> Iterator[str]:
    """Whose workers run. One that has started under the old number would go on by it."""
    for group, owned in at_work(groups):
        yield f"workers of group {group} run, with partitions {owned}: stop them once all is finished"


async def _parked(inspector: Inspector, topic: str, groups: Collection[str]) -> Counter[str]:
    """Group → how many of its portals wait; their records, and orders for them, stand by the old number."""
    found: Counter[str] = Counter()
    async for view in parking_views(inspector, topic, groups, await inspector.bounds(topic)):
        found[view.group] += len(view.waiting())
    return +found


async def _waits(
    inspector: Inspector, topic: str, number: int, bounds: Bounds, states: Mapping[int, GroupState]
) -> bool:
    start = max(bounds.start, states[number].offset) if number in states else bounds.start
    return bool(await inspector.read(topic, number, start, 1))


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
