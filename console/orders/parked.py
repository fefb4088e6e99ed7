"""Orders about portals that are parked, or shall be: whom they mean, and whether a worker has obeyed."""

import sys
from asyncio import CancelledError
from collections.abc import Sequence
from dataclasses import dataclass

from forebay.console.group_lag import read_by_others
from forebay.console.planning import counted
from forebay.console.reading import inspected, opened, partitions_of
from forebay.console.stopping import Stop, ended_by_ctrl_c
from forebay.console.terminal.output import note
from forebay.console.terminal.progress import Told, progress
from forebay.processors.parking.orders import What
from forebay.queues.contract import Inspector
from forebay.queues.settings import QueueSettings
from forebay.schemas.errors import ForebayError
from forebay.schemas.portal import partition_of

from .following import Following
from .lost import make_up_for_lost
from .parking_view import Waiting, parking_views
from .writer import OrderWriter, check_can_obey, order_writer

#: A worker obeys within about two seconds; one that has not after so long has another trouble.
PATIENCE_LOOKS = 30
_LOOK_S = 1.0


async def waiting(
    inspector: Inspector, settings: QueueSettings, group: str | None, portal: str | None, reason: str | None
) -> list[Waiting]:
    """The portals that wait, of one group or of all, those that are parked longest first."""
    found: list[Waiting] = []
    numbers = partitions_of(portal, await inspector.partitions(settings.topic))
    groups = [group] if group is not None else sorted({settings.group, *await inspector.groups(settings.topic)})
    async for view in parking_views(inspector, settings.topic, groups, numbers):
        found += view.waiting(portal, reason)
    return sorted(found, key=lambda one: (one.state.since_ms if one.state else 0, one.portal))


async def list_waiting(
    settings: QueueSettings, group: str | None, portal: str | None = None, reason: str | None = None
) -> list[Waiting]:
    """The same, of the queue of the settings."""
    async with opened(settings) as queue, inspected(queue) as inspector:
        return await waiting(inspector, settings, group, portal, reason)


async def read_by_others_alone(settings: QueueSettings) -> list[str]:
    """The groups that have read the topic, where the one that orders are for never has."""
    async with opened(settings) as queue, inspected(queue) as inspector:
        return await read_by_others(inspector, settings.topic, settings.group)


@dataclass(slots=True, kw_only=True)
class Ordered:
    """For how many of the portals it is ordered, from the first on, and what became of that."""

    portals: Sequence[str]
    following: Following
    written: int = 0

    @property
    def left(self) -> int:
        """For how many it is not ordered."""
        return len(self.portals) - self.written


async def order(settings: QueueSettings, what: What, portals: Sequence[str], why: str, *, wait: bool) -> Ordered:
    """Order it for the portals of the settings' group, and wait until it is obeyed, or nobody is there to obey.

    Ctrl-C ends it between two portals. For how many it is ordered, and not, is told then, and after an error.
    """
    async with (
        opened(settings) as queue,
        inspected(queue) as inspector,
        order_writer(queue, settings.topic, why) as writer,
    ):
        check_can_obey(queue)
        await make_up_for_lost(inspector, writer.producer, settings.topic, writer.now_ms())
        following, stop = Following(inspector=inspector, topic=settings.topic), Stop()
        ordered = Ordered(portals=portals, following=following)
        partitions = await inspector.partitions(settings.topic)
        try:
            with ended_by_ctrl_c(stop), progress(what, len(portals), sys.stderr) as told:
                await put(writer, what, settings.group, partitions, ordered, stop, told)
                await (obeyed(following, stop) if wait and not ordered.left else following.look())
        except (ForebayError, CancelledError):
            if ordered.written:
                unknown = "whether a worker has obeyed is not known: forebay parked list"
                note(f"{what}: ordered for {counted(ordered.written, 'portal')}; {unknown}")
            raise
        finally:
            if ordered.left:
                note(f"{what}: stopped, and not ordered for {counted(ordered.left, 'portal')}; run the same again")
    return ordered


async def put(
    writer: OrderWriter, what: What, group: str, partitions: int, ordered: Ordered, stop: Stop, told: Told
) -> None:
    """Write the orders, until it is to stop."""
    for portal in ordered.portals:
        if stop.is_asked:
            return
        partition = partition_of(portal, partitions)
        ordered.following.add([await writer.put(portal, what, group, partition)], partition)
        ordered.written += 1
        told(ordered.written)


async def obeyed(following: Following, stop: Stop) -> None:
    """Return when the orders are obeyed, when no worker is there that could, when it is to stop, or after a while."""
    for _ in range(PATIENCE_LOOKS):
        await following.look()
        if following.is_over or await stop.within(_LOOK_S):
            return
