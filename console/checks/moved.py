"""What `forebay doctor` says where everything was moved from the queue to another one."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from forebay.console.stillness import at_work
from forebay.queues.errors import QueueError
from forebay.queues.findings import Finding
from forebay.queues.moves.marker import Marker, Markers
from forebay.queues.moves.watch import REMEDY, told

if TYPE_CHECKING:
    from forebay.queues.contract import Inspector

_CHECK = "queue moved"


async def moved_findings(inspector: "Inspector", topic: str, group: str) -> AsyncIterator[Finding]:
    """Nothing where it was not moved, or where this user may not read what operators did."""
    try:
        marker = await Markers(topic).last(inspector)
        if marker is not None:
            yield await _found(inspector, topic, group, marker)
    except QueueError:
        return


async def _found(inspector: "Inspector", topic: str, group: str, marker: Marker) -> Finding:
    if not marker.is_done:
        remedy = "run the same move again: it goes on, and until it is done nothing may work on either queue"
        return Finding(check=_CHECK, state="warn", detail=f"{told(marker)}, and not all is there yet", remedy=remedy)
    since = marker.source_ends.get(topic, {})
    bounds = await inspector.bounds(topic)
    came = sum(max(0, one.end - since.get(number, 0)) for number, one in bounds.items())
    detail = f"{told(marker)}, and {came:,} events have come since"
    if any(at_work(await inspector.groups(topic, [group]))):
        # Who has given the other queue up goes on with this one, and nothing waits here for ever.
        detail += f"; workers of group {group} handle them, and what was moved a second time"
        return Finding(check=_CHECK, state="warn", detail=detail, remedy=f"unless that is as it should be, {REMEDY}")
    return Finding(check=_CHECK, state="fail", detail=f"{detail}, which nobody handles", remedy=REMEDY)
