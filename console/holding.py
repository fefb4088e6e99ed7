"""Orders about portals that are parked, or shall be: whom they mean, and whether a worker has obeyed."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from forebay.processors.parking.orders import What
from forebay.queues.contract import Inspector
from forebay.queues.settings import QueueSettings
from forebay.schemas.portal import partition_of

from .following import Following
from .ordering import Orderer
from .reading import inspected, opened, partitions_of
from .replaying import orderer
from .standing import Waiting, standings

#: A worker obeys within about two seconds; one that has not after so long has another trouble.
PATIENCE_LOOKS = 30
_LOOK_S = 1.0


async def waiting(
    inspector: Inspector, settings: QueueSettings, group: str | None, portal: str | None, reason: str | None
) -> list[Waiting]:
    """The portals that wait, of one group or of all, those that are parked longest first."""
    found: list[Waiting] = []
    numbers = partitions_of(portal, len(await inspector.bounds(settings.topic)))
    async for standing in standings(inspector, settings, group, numbers):
        found += standing.waiting(portal, reason)
    return sorted(found, key=lambda one: (one.state.since_ms if one.state else 0, one.portal))


async def list_waiting(
    settings: QueueSettings, group: str | None, portal: str | None = None, reason: str | None = None
) -> list[Waiting]:
    """The same, of the queue of the settings."""
    async with opened(settings) as queue, inspected(queue) as inspector:
        return await waiting(inspector, settings, group, portal, reason)


async def order(settings: QueueSettings, what: What, portals: Sequence[str], why: str, *, wait: bool) -> Following:
    """Order it for the portals of the settings' group, and wait until it is obeyed, or nobody is there to obey."""
    async with opened(settings) as queue, inspected(queue) as inspector, orderer(queue, settings.topic, why) as given:
        following = Following(inspector=inspector, topic=settings.topic)
        partitions = len(await inspector.bounds(settings.topic))
        await put(given, what, portals, settings.group, partitions, following)
        await (obeyed(following) if wait else following.look())
    return following


async def put(
    given: Orderer, what: What, portals: Sequence[str], group: str, partitions: int, following: Following
) -> None:
    """Write the orders."""
    for portal in portals:
        partition = partition_of(portal, partitions)
        following.add([await given.put(portal, what, group, partition)], partition)


async def obeyed(following: Following, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
    """Return when the orders are obeyed, when no worker is there that could, or after a while."""
    for _ in range(PATIENCE_LOOKS):
        await following.look()
        if following.is_over:
            return
        await sleep(_LOOK_S)
