"""Whether anybody writes to a topic's streams, or works on them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

from forebay.queues.contract import GroupState, Inspector
from forebay.queues.moves.marker import Ends
from forebay.schemas import names

from .reading import stream_ends

#: So long nothing may be written, looking so often. Portals that send hardly anything may be silent for longer: that
#: no ingest runs is for a person to know.
QUIET_S = 10
LOOK_S = 1.0

#: Group → partition → what it has committed there, as offset and note.
Places = Mapping[str, Mapping[int, tuple[int, bytes]]]

Sleep = Callable[[float], Awaitable[object]]


async def ends(inspector: Inspector, topic: str) -> Ends:
    """Where the topic's streams end now."""
    return {stream: await stream_ends(inspector, stream) for stream in names.streams(topic)}


async def withheld(inspector: Inspector, topic: str) -> AsyncIterator[str]:
    """Where something was written that nobody can read yet, and that no end tells of, in words."""
    for stream in names.streams(topic):
        bounds = await inspector.bounds(stream)
        if found := {number: one.withheld for number, one in bounds.items() if one.withheld}:
            yield (
                f"{sum(found.values()):,} records of {stream} (partitions {', '.join(map(str, found))}) can't be read "
                "before another program ends its transaction: end it first (forebay doctor says how)"
            )


def written(before: Ends, now: Ends) -> str:
    """Where something was written in between, in words; new partitions are no news."""
    found = [
        f"{now[stream][number] - end} in partition {number} of {stream}"
        for stream, numbers in before.items()
        for number, end in numbers.items()
        if now[stream][number] != end
    ]
    return ", ".join(found)


async def watch(look: Callable[[], Awaitable[None]], sleep: Sleep = asyncio.sleep) -> None:
    """Look again and again for a while; the look raises when something is not still."""
    for _ in range(round(QUIET_S / LOOK_S)):
        await sleep(LOOK_S)
        await look()


def at_work(groups: Mapping[str, Mapping[int, GroupState]]) -> Iterator[tuple[str, str]]:
    """The groups whose workers run, each with the partitions that they have."""
    for group, states in groups.items():
        if owned := sorted(number for number, state in states.items() if state.owner is not None):
            yield group, ", ".join(map(str, owned))


def places(groups: Mapping[str, Mapping[int, GroupState]]) -> Places:
    """How far the groups are. Who has a partition, and has finished nothing of it, is nowhere yet."""
    return {
        group: {number: (state.offset, state.note) for number, state in states.items() if state.offset or state.note}
        for group, states in groups.items()
    }


def went_on(before: Places, now: Places) -> Iterator[tuple[str, str]]:
    """The groups that have finished something in between, each with the partitions in which."""
    for group in sorted({*before, *now}):
        old, new = before.get(group, {}), now.get(group, {})
        if moved := sorted(number for number in {*old, *new} if old.get(number) != new.get(number)):
            yield group, ", ".join(map(str, moved))
