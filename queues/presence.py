"""Whether what will be asked of a queue is there."""

from .contract import Queue
from .findings import Finding, Needs

#: Missing parts that are named in one line.
_LISTED = 4


async def streams_found(queue: Queue, needs: Needs) -> Finding:
    """Whether every stream is there. Raises `QueueError`."""
    missing = await queue.missing([name for name in needs.streams if name != needs.compacted], needs.partitions)
    return presence(missing + (await facts_missing(queue, needs.events) if needs.compacted else []))


async def facts_missing(queue: Queue, topic: str) -> list[str]:
    """What the facts about the topic's portals still need. Raises `QueueError`."""
    store = queue.portals(topic)
    try:
        return await store.ensure(only_plan=True)
    finally:
        await store.close()


def presence(missing: list[str]) -> Finding:
    """The finding about what the queue says is missing."""
    if not missing:
        return Finding(check="queue", state="ok", detail="reached, and every stream is there")
    if missing[0].startswith("database "):
        detail = f"{missing[0]} is not there yet; up, ingest and process make it when they start"
    else:
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        detail = f"missing: {', '.join(missing[:_LISTED])}{more}"
    return Finding(check="queue", state="warn", detail=detail, remedy="forebay topics ensure")
