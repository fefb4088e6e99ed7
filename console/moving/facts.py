"""What is known of the portals, carried from one store to the other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from forebay.queues.contract import Queue
from forebay.queues.errors import QueueError
from forebay.queues.portals.contract import Fact, PortalStore

#: Facts that are kept at once.
_AT_ONCE = 500

#: A store that has more says so within that.
_READ_S = 5.0


@asynccontextmanager
async def _store(queue: Queue, topic: str) -> AsyncIterator[PortalStore]:
    store = queue.portals(topic)
    try:
        yield store
    finally:
        await store.close()


async def facts_of(queue: Queue, topic: str) -> list[Fact]:
    """The last fact of each key, in their order; none where nothing is kept. What was taken back is left out."""
    async with _store(queue, topic) as store:
        if await store.ensure(only_plan=True):
            return []
        last: dict[str, Fact] = {}
        start, end = 0, await store.end()
        while start < end:
            chapter = await store.read(start, _READ_S)
            for fact in chapter.facts:
                # At its last place.
                last.pop(fact.key, None)
                last[fact.key] = Fact(fact.key, fact.value)
            start = chapter.following
            if chapter.is_end:
                break
    return [fact for fact in last.values() if fact.value is not None]


def left_of(facts: list[Fact], there: list[Fact]) -> list[Fact]:
    """Those that the target has not yet. Raises `QueueError` where it knows something of its own."""
    ours = dict(facts)
    if strange := [fact for fact in there if ours.get(fact.key) != fact.value]:
        raise QueueError(
            f"the target knows {len(strange)} facts about portals that the source doesn't: two such books can't be "
            "made one, since each may know a portal by another key; move into a queue, or a topic, that knows none"
        )
    known = {fact.key for fact in there}
    return [fact for fact in facts if fact.key not in known]


async def carry_facts(queue: Queue, topic: str, facts: list[Fact]) -> None:
    """Keep them in the target, in their order: of two homes of a portal the first counts."""
    async with _store(queue, topic) as store:
        await store.ensure()
        for start in range(0, len(facts), _AT_ONCE):
            await store.put(facts[start : start + _AT_ONCE])
