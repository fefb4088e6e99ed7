"""A replay from its plan to its end: it is ordered portal by portal, and followed until the workers have handled it."""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from forebay.console.planning import Plan, Planned, count_in, counted
from forebay.console.reading import stream_ends
from forebay.console.stopping import Stop, ended_by_ctrl_c
from forebay.console.terminal.output import clean, note
from forebay.console.terminal.progress import Told, progress
from forebay.processors.dead_letters import place_of
from forebay.processors.parking.orders import Order, What
from forebay.queues.contract import Inspector, Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.reading import between
from forebay.schemas import names

from .following import Following
from .lost import make_up_for_lost
from .writer import Meanwhile, OrderWriter, Pace, check_can_obey, order_all, order_writer

#: How often it is looked how far the workers are: as often as they tell it.
_LOOK_S = 1.0

#: After an error, the portal that is being ordered gets so long.
_LAST_ORDER_S = 10.0


@dataclass(slots=True, kw_only=True)
class Replay:
    """What was ordered, what was not, and what became of it."""

    plan: Plan
    following: Following
    ordered: list[Planned] = field(default_factory=list)
    #: Of the handled ones: those that are dead letters again.
    died: int = 0
    is_stopped: bool = False

    @property
    def left(self) -> Plan:
        """What was not ordered: it goes from the first to the last."""
        return self.plan[len(self.ordered) :]

    @property
    def is_clean(self) -> bool:
        """Whether all was ordered, and nothing that was handled failed again."""
        return not (self.left or self.following.stuck or self.died)

    def take(self, planned: Planned, orders: list[Order]) -> None:
        """A portal was ordered."""
        self.ordered.append(planned)
        self.following.add(orders, planned.partition)

    def told(self) -> Iterator[str]:
        """What a person should know at the end, a sentence each."""
        ordered, following = count_in(self.ordered), self.following
        portals = sum(bool(one.offsets) for one in self.ordered)
        yield f"{following.done:,} of {counted(ordered, 'record')} of {counted(portals, 'portal')} handled"
        if left_out := count_in(self.plan[: len(self.ordered)]) - ordered:
            yield f"{counted(left_out, 'record')} left out, which somebody else has dealt with meanwhile: forebay audit"
        if self.left:
            left = f"{counted(count_in(self.left), 'record')} of {counted(len(self.left), 'portal')}"
            yield f"stopped: {left} not ordered; run the same again, and it goes on with these"
        if self.died:
            yield f"{counted(self.died, 'event')} died again: forebay dead list"
        if following.stuck:
            stuck = f"{counted(len(following.stuck), 'portal')} failed again or {_are(len(following.stuck))} held"
            yield f"{stuck}, and will be done in their time: forebay parked list"
        for group, partitions in _by_group(following.without_worker).items():
            yield f"no worker of group {group} has partitions {partitions}: what is ordered there waits for one"
        if self.is_stopped and following.open and not self.left:
            yield "all is ordered: the workers go on with it"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _by_group(places: list[tuple[str, int]]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for group, partition in places:
        found.setdefault(group, []).append(str(partition))
    return {group: ", ".join(numbers) for group, numbers in found.items()}


async def follow(
    result: Replay, writer: OrderWriter, pace: Pace, told: Told, since: Mapping[int, int] | None = None
) -> None:
    """Order what is planned and follow it until it is done, or nothing comes of waiting, or it is to stop.

    What orders name that stand in the audit stream since these offsets (None: since ever) is left out.
    """
    following = result.following
    meanwhile = Meanwhile(inspector=following.inspector, topic=writer.topic, since=dict(since or {}))
    letters = await stream_ends(following.inspector, names.dead(writer.topic))
    ordering = asyncio.create_task(order_all(result.plan, What.REPLAY, writer, pace, meanwhile, result.take))
    try:
        while not await _is_over(result, ordering, pace.stop):
            told(following.done)
            if ordering.done():
                await pace.stop.within(_LOOK_S)
        told(following.done)
        result.is_stopped = pace.stop.is_asked
    finally:
        # Whatever ended it, a portal that is being ordered is ordered whole.
        pace.stop.ask()
        await _ended(ordering)
    result.died = await _died(following.inspector, writer.topic, letters, result.ordered)


async def _ended(ordering: "asyncio.Task[None]") -> None:
    try:
        async with asyncio.timeout(_LAST_ORDER_S):
            await ordering
    except TimeoutError as error:
        raise QueueUnavailable(
            "the queue does not answer, and may have the last order or not: look, then go on"
        ) from error


async def _is_over(result: Replay, ordering: "asyncio.Task[None]", stop: Stop) -> bool:
    """Look how it stands: whether there is nothing to be ordered any more, and nothing to be waited for."""
    await asyncio.wait([ordering], timeout=None if stop.is_asked else _LOOK_S)
    is_all = ordering.done()
    await result.following.look()
    return is_all and (stop.is_asked or bool(result.left) or result.following.is_over)


async def carry_out(
    queue: Queue,
    inspector: Inspector,
    topic: str,
    plan: Plan,
    rate: float | None,
    why: str,
    since: Mapping[int, int] | None = None,
) -> bool:
    """Replay the plan, tell how far it is and how it ended. Whether all is well."""
    check_can_obey(queue)
    stop, result = Stop(), Replay(plan=plan, following=Following(inspector=inspector, topic=topic))
    try:
        with ended_by_ctrl_c(stop), progress("replay", count_in(plan), sys.stderr) as told:
            async with order_writer(queue, topic, why) as writer:
                await make_up_for_lost(inspector, writer.producer, topic, writer.now_ms())
                await follow(result, writer, Pace(rate=rate, stop=stop), told, since)
    finally:
        # Also after an error a person wants to know how far it came.
        for sentence in result.told():
            note(clean(sentence))
    return result.is_clean


async def _died(inspector: Inspector, topic: str, since: dict[int, int], ordered: list[Planned]) -> int:
    """How many of the records were given up again."""
    died, ends = set(), await stream_ends(inspector, names.dead(topic))
    for partition in {planned.partition for planned in ordered}:
        async for record in between(inspector, names.dead(topic), partition, since[partition], ends[partition]):
            died.add((partition, record.key, place_of(record)[2]))
    return sum((one.partition, one.portal, place) in died for one in ordered if died for place in one.places)
