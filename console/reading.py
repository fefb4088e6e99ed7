"""The queue of a command: looked into, and written to."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from fnmatch import fnmatchcase

from forebay.processors.notes import Note, UnreadableNote, decode_note
from forebay.queues.contract import GroupState, Grows, Inspector, Producer, Queue, StoredRecord
from forebay.queues.opening import open_queue
from forebay.queues.portals.contract import PortalStore
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from forebay.schemas.portal import BadPortal, member_key, normal_form, partition_of

from .errors import WrongUsage

#: So many partitions are looked into at once: most of a look is the way there and back.
_AT_ONCE = 16

#: After an error or Ctrl-C, what is under way may still be acknowledged for so long: a queue that is gone never does.
_FLUSH_S = 5.0


@asynccontextmanager
async def opened(settings: QueueSettings) -> AsyncIterator[Queue]:
    """The queue of the settings, closed afterwards."""
    queue = open_queue(settings)
    try:
        yield queue
    finally:
        await queue.close()


@asynccontextmanager
async def inspected(queue: Queue) -> AsyncIterator[Inspector]:
    """An inspector of the queue, closed afterwards."""
    inspector = queue.inspector()
    try:
        yield inspector
    finally:
        await inspector.close()


@asynccontextmanager
async def producing(queue: Queue, topic: str) -> AsyncIterator[Producer]:
    """A producer of the queue, which places the topic's records as the ingest does; closed afterwards.

    Raises `QueueError` where their streams are not as they should be.
    """
    if isinstance(queue, Grows):
        # By itself it would use partitions, too, that somebody has added to one stream alone, and that nobody handles.
        async with inspected(queue) as inspector:
            await queue.missing(names.streams(topic), await inspector.partitions(topic))
    producer = queue.producer()
    try:
        yield producer
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await producer.close()


@asynccontextmanager
async def portal_store(queue: Queue, topic: str) -> AsyncIterator[PortalStore]:
    """Where facts about portals are kept, closed afterwards."""
    store = queue.portals(topic)
    try:
        yield store
    finally:
        await store.close()


async def stream_ends(inspector: Inspector, stream: str) -> dict[int, int]:
    """Where each partition of the stream ends now."""
    return {partition: bounds.end for partition, bounds in (await inspector.bounds(stream)).items()}


def note_of(state: GroupState) -> Note:
    """What the group has noted with its commit; nothing where that can't be read, as a new owner takes it."""
    try:
        return decode_note(state.offset, state.note)
    except UnreadableNote:
        return Note()


async def firsts(
    inspector: Inspector,
    stream: str,
    spans: Mapping[int, tuple[int, int]],
    answered: Callable[[], object] = lambda: None,
) -> dict[int, StoredRecord]:
    """Partition → the first record between two offsets; none where nothing stands. Tells of each answer."""
    left = deque((number, start, end) for number, (start, end) in spans.items() if start < end)
    found: dict[int, StoredRecord] = {}

    async def look() -> None:
        while left:
            number, start, end = left.popleft()
            records = await inspector.read(stream, number, start, 1)
            answered()
            if records and records[0].offset < end:
                found[number] = records[0]

    looks = [asyncio.create_task(look()) for _ in range(min(_AT_ONCE, len(left)))]
    try:
        await asyncio.gather(*looks)
    finally:
        for one in looks:
            one.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
    return found


def portal_key(portal: str) -> str:
    """The key under which the portal's records stand, however its domain was written; a member_id is taken as it is."""
    with suppress(BadPortal):
        return member_key(portal)
    # Not every domain has a dot: a box may be `crm:8080` in its own network.
    try:
        return normal_form(portal)
    except BadPortal as error:
        raise WrongUsage(f"--portal: {error}") from error


def is_called(name: str, pattern: str) -> bool:
    """Whether `--event` means an event of that name. The codes of robots have the letters that their authors chose."""
    return fnmatchcase(name.upper(), pattern.upper())


async def looked_at(inspector: Inspector, stream: str, portal: str | None, there: Collection[int]) -> list[int]:
    """Where to look of the partitions that are there: one for a portal, all without."""
    return sorted(there) if portal is None else partitions_of(portal, await inspector.partitions(stream))


def partitions_of(portal: str | None, partitions: int) -> list[int]:
    """Where to look: one partition for a portal, all without."""
    return list(range(partitions)) if portal is None else [partition_of(portal, partitions)]
