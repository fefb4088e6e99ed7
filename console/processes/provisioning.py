"""What the settings need of a queue, told or made: the streams, and where facts about portals are kept."""

from typing import TYPE_CHECKING

from forebay.console.reading import portal_store
from forebay.schemas import names

if TYPE_CHECKING:
    from forebay.console.settings import Settings
    from forebay.queues.contract import Queue


async def missing(queue: "Queue", settings: "Settings") -> list[str]:
    """What is missing, a sentence each."""
    streams = await queue.missing(names.streams(settings.topic), settings.partitions)
    return streams + await _facts(queue, settings, only_plan=True)


async def ensured(queue: "Queue", settings: "Settings") -> list[str]:
    """Make what is missing, and return it, a sentence each."""
    streams = await queue.ensure(names.streams(settings.topic), settings.partitions)
    return streams + await _facts(queue, settings, only_plan=False)


async def _facts(queue: "Queue", settings: "Settings", *, only_plan: bool) -> list[str]:
    if not settings.keeps_portals:
        return []
    async with portal_store(queue, settings.topic) as store:
        return await store.ensure(only_plan=only_plan)
