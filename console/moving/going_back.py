"""Whether the target is the queue from which all was moved once: that stands there still, and is handled elsewhere."""

from collections.abc import AsyncIterator

from forebay.console.letters.letters import open_records
from forebay.queues.moves.marker import Ends
from forebay.schemas import names

from .choosing import ALL
from .lacking import lacking
from .sides import Side


async def moved_away(side: Side) -> AsyncIterator[str]:
    """What the side still holds open of what was moved from it, in words: its workers would handle that once more."""
    marker = await side.last_move()
    if marker is None:
        return
    groups = await side.groups() if marker.group == ALL else [marker.group]
    if await _holds_letters(side, marker.source_ends) or await _holds_events(side, [*groups], marker.source_ends):
        yield (
            f"{side.name} still has what was moved from it to {marker.target} (by {marker.who}), and its workers would "
            "handle that a second time, behind what is newer: make its streams anew, and run the same again"
        )


async def _holds_events(side: Side, groups: list[str], ends: Ends) -> bool:
    before = ends.get(side.topic, {})
    for group in groups:
        for part in await lacking(side.inspector, side.topic, group):
            async for one in part.all():
                if 0 <= one.place < before.get(part.view.partition, 0):
                    return True
    return False


async def _holds_letters(side: Side, ends: Ends) -> bool:
    for stream in (names.dead(side.topic), names.quarantine(side.topic)):
        before = ends.get(stream, {})
        async for record in open_records(side.inspector, side.topic, stream):
            if record.offset < before.get(record.partition, 0):
                return True
    return False
