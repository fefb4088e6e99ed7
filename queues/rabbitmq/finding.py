"""Finding places in a partition's stream, in which they are not where their numbers say."""

from collections.abc import Awaitable, Callable

from forebay.queues.contract import Bounds

from .connection import Connection
from .looking import MOST, Entries, between, last_of, look
from .places import Placed, is_refusal, mark, payload, placed

#: Entries that a sequencer may still write when another has taken its place: those that it has under way, and some.
_LATE = 5000

#: Entries among which one with a place mostly is.
_FEW = 10


def places(entries: Entries) -> list[Placed]:
    """Those that have one, as they stand: late copies too."""
    return [found for found in (placed(*one) for one in entries) if found is not None]


def fresh(found: list[Placed], place: int) -> list[Placed]:
    """Those from the place on, without second copies."""
    new = []
    for one in found:
        if one.place >= place:
            new.append(one)
            place = one.place + 1
    return new


async def tail(connection: Connection, log: str, until: bytes | None = None) -> Entries:
    """The last entries, and so many that the highest place of what was forwarded is among them, if there is any.

    With `until`, which must come, they end there, or behind it.
    """
    entries = await last_of(connection, log)
    while until is not None and not any(body == until for _, body in entries):
        entries += await look(connection, log, entries[-1][0] + 1, MOST)
    while more := _lacking(entries):
        start = entries[0][0]
        if not (earlier := await between(connection, log, max(0, start - more), start)):
            break
        entries = earlier + entries
    return entries


def _lacking(entries: Entries) -> int:
    found = [one for one in places(entries) if not is_refusal(one.entry)]
    if not found:
        return _FEW * len(entries)
    # It may be a late copy, behind the entry with the highest place.
    return 0 if found[-1].is_sure or len(entries) > _LATE else _LATE


def end(entries: Entries) -> int:
    """The place behind all of these, which are a tail.

    Where retention has left nothing that has a place, it is one that none of those can have had: none is ahead of the
    stream's own offset.
    """
    nothing = 0 if entries[0][0] == 0 else entries[-1][0]
    return max((one.place + 1 for one in places(entries)), default=nothing)


async def bounds(connection: Connection, log: str) -> Bounds:
    """From the first record that is kept to the end. Raises as `look` does."""
    first = await look(connection, log, "first", _FEW)
    # Fewer than were asked for are all that there are.
    last = first if len(first) < _FEW else await tail(connection, log)
    behind = end(last)
    while True:
        if found := [one.place for one in places(first) if payload(one.entry) is not None]:
            return Bounds(start=found[0], end=max(found[0], behind))
        if first[-1][0] >= last[-1][0]:
            return Bounds(start=behind, end=behind)
        first = await look(connection, log, first[-1][0] + 1, _FEW)


async def way_to(connection: Connection, log: str, place: int, last: Entries | None = None) -> int:
    """An offset of the stream at which, or behind which, the place stands first; not far before it.

    Of a place that is not there yet: one behind which it will stand. Who knows the tail gives it.
    """
    if place == 0:
        return 0
    found = places(last or await tail(connection, log))
    if not found:
        return 0
    highest = max(found, key=lambda one: (one.place, -one.at))
    # Each place takes an entry at least.
    start, step = highest.at - max(0, highest.place - place), _FEW
    while start > 0:
        entries = await look(connection, log, start, _FEW)
        if here := places(entries):
            if here[0].place <= place:
                return max(0, start - (0 if here[0].is_sure else _LATE))
            step = max(step, here[0].place - place)
        start, step = start - step, step * 2
    return 0


async def at_place(connection: Connection, log: str, place: int) -> Placed | None:
    """What stands at a place that is before the end: the first copy of it, as for every reader."""
    at = await way_to(connection, log, place)
    while True:
        entries = await look(connection, log, at, MOST)
        found = next(iter(fresh(places(entries), place)), None)
        if found is not None:
            return found if found.place == place else None
        at = entries[-1][0] + 1


async def is_shorter(connection: Connection, log: str, position: int, put: Callable[[bytes], Awaitable[None]]) -> bool:
    """Whether the partition itself ends before the place, and not only the copy that we read: that may be behind.

    Nor is it shorter when the end that it has lost is still in its intake: it is found out by a mark, which goes the
    same way, and is behind all that was sent before.
    """
    sign, at = mark(), (await last_of(connection, log))[-1][0]
    await put(sign)
    while True:
        entries = await look(connection, log, at + 1, MOST)
        for one in places(entries):
            if one.entry == sign:
                return one.place < position
        at = entries[-1][0]
