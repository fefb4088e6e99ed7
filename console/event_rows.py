"""Events as they stand in the queue: followed, and shown as rows."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from heapq import merge

import orjson

from forebay.queues.contract import Inspector, StoredRecord
from forebay.queues.reading import BATCH_RECORDS, between
from forebay.schemas.codec import Codec
from forebay.schemas.errors import UndecodableEvent
from forebay.schemas.event import PortalEvent

from .reading import is_called, looked_at, partitions_of
from .terminal.output import Row, clean
from .times import iso

#: How often the queue is asked for more when it had nothing.
_POLL_S = 0.2

#: So many records of a partition are looked through for the newest ones of a portal.
_LOOKS_BACK_RECORDS = 5000

#: What is shown of an event among others.
_BRIEFLY = ("received_at", "occurred_at", "id", "kind", "name", "partition", "offset")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which records are shown; None takes all."""

    portal: str | None = None
    event: str | None = None
    count: int | None = None


async def follow(
    inspector: Inspector,
    codec: Codec,
    topic: str,
    start: str | int,
    wanted: Wanted,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> AsyncIterator[Row]:
    """The wanted events as rows, from an end of the log or a time in milliseconds on; ends only at the wanted count."""
    left = wanted.count
    async for record in _records(inspector, topic, await _positions(inspector, topic, start, wanted), sleep):
        row = _row(record, codec)
        if not _takes(wanted, row):
            continue
        yield row
        left = left and left - 1
        if left == 0:
            return


async def newest(inspector: Inspector, codec: Codec, topic: str, portal: str, count: int) -> list[Row]:
    """The portal's newest events without their content, the newest first, as far as they are not long ago."""
    bounds = await inspector.bounds(topic)
    [partition] = partitions_of(portal, await inspector.partitions(topic))
    start, end = bounds[partition].start, bounds[partition].end
    oldest, found = max(start, end - _LOOKS_BACK_RECORDS), deque[Row](maxlen=count)
    async for record in between(inspector, topic, partition, oldest, end):
        if record.key == portal:
            row = _row(record, codec)
            found.appendleft({name: row[name] for name in _BRIEFLY})
    return list(found)


async def _positions(inspector: Inspector, topic: str, start: str | int, wanted: Wanted) -> dict[int, int]:
    bounds = await inspector.bounds(topic)
    numbers = await looked_at(inspector, topic, wanted.portal, bounds)
    if isinstance(start, int):
        return {at: await inspector.offset_at(topic, at, start) for at in numbers}
    return {at: bounds[at].start if start == "earliest" else bounds[at].end for at in numbers}


async def _records(
    inspector: Inspector, topic: str, positions: dict[int, int], sleep: Callable[[float], Awaitable[object]]
) -> AsyncIterator[StoredRecord]:
    while True:
        logs = [await inspector.read(topic, at, offset, BATCH_RECORDS) for at, offset in positions.items()]
        for record in merge(*logs, key=lambda record: record.timestamp_ms):
            positions[record.partition] = record.offset + 1
            yield record
        if not any(logs):
            await sleep(_POLL_S)


def _takes(wanted: Wanted, row: Row) -> bool:
    if wanted.portal is not None and row["portal"] != wanted.portal:
        return False
    return wanted.event is None or is_called(str(row["name"]), wanted.event)


def _row(record: StoredRecord, codec: Codec) -> dict[str, object]:
    place = {"partition": record.partition, "offset": record.offset}
    try:
        return event_row(codec.decode(record.value)) | place
    except UndecodableEvent as error:
        empty = dict.fromkeys(("id", "portal", "member_id", "kind", "name", "data", "fields", "occurred_at"))
        return {**empty, "portal": record.key, "received_at": None, **place, "undecodable": str(error)}


def event_row(event: PortalEvent) -> dict[str, object]:
    """What is shown of an event; its secrets are not."""
    return {
        "id": event.id,
        "portal": event.portal,
        "member_id": event.member_id,
        "kind": event.kind,
        "name": event.name,
        "data": event.data,
        "fields": dict(event.fields),
        "occurred_at": iso(event.occurred_at),
        "received_at": iso(event.received_at),
    }


def readable(row: Row) -> str:
    """The row as one line for a person."""
    place = f"{row['partition']}:{row['offset']}"
    if "undecodable" in row:
        return clean(f"{place}  {row['portal']}  (not an event: {row['undecodable']})")
    name = row["name"] or row["kind"]
    return clean(f"{row['received_at']}  {place}  {row['portal']}  {name}  {orjson.dumps(row['data']).decode()}")
