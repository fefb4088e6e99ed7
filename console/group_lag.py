"""How far a group is behind, a row a partition."""

from array import array
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from forebay.queues.contract import Inspector
from forebay.queues.errors import QueueError
from forebay.queues.settings import QueueSettings

from .orders.parking_view import parking_views
from .reading import between, inspected, opened, partitions_of
from .terminal.output import Row, note
from .times import to_ms, utc_now


async def told_lags(settings: QueueSettings, portal: str | None) -> list[Row]:
    """The rows; what they don't say is told beside them."""
    async with opened(settings) as queue, inspected(queue) as inspector:
        rows = await lags(inspector, settings, portal)
        withheld = sum(one.withheld for one in (await inspector.bounds(settings.topic)).values())
        is_owned = any(row["owner"] for row in rows)
        others = [] if is_owned else await read_by_others(inspector, settings.topic, settings.group)
    if withheld:
        note(
            f"{withheld:,} records more can't be read, and are not counted, before another program ends its "
            "transaction: look at `forebay doctor`"
        )
    if others:
        note(f"{nobody_read(settings.group, others)}; all that is kept counts as waiting")
    return rows


async def read_by_others(inspector: Inspector, topic: str, group: str) -> list[str]:
    """The groups that have read the topic, where this one never has; none where it has."""
    if await inspector.groups(topic, [group]):
        return []
    return sorted(await inspector.groups(topic))


def nobody_read(group: str, others: Sequence[str]) -> str:
    """What a person is told then."""
    return f"nobody ever read as group {group}, but {', '.join(others)} did: say --group"


async def lags(inspector: Inspector, settings: QueueSettings, portal: str | None, now_ms: int = 0) -> list[Row]:
    """The rows. Where offsets have gaps, the number of records of a partition is the highest that it can be."""
    group = settings.group
    rows = (await unfinished(inspector, settings.topic, [group], portal, now_ms))[group]
    parked = await _parked(inspector, settings, portal, [row["partition"] for row in rows])
    return [{**row, "parked": parked.get(row["partition"])} for row in rows]


async def unfinished(
    inspector: Inspector, topic: str, groups: Collection[str], portal: str | None, now_ms: int = 0
) -> dict[str, list[dict[str, Any]]]:
    """Group → its rows, without what is parked. What waits of a portal is read once for all groups."""
    bounds = await inspector.bounds(topic)
    states = await inspector.groups(topic, groups)
    rows: dict[str, list[dict[str, Any]]] = {group: [] for group in groups}
    for partition in partitions_of(portal, len(bounds)):
        at = {group: states.get(group, {}).get(partition) for group in groups}
        start, end = bounds[partition].start, bounds[partition].end
        spans = {group: (max(start, state.offset) if state else start, end) for group, state in at.items()}
        waiting = await _waiting(inspector, topic, partition, spans, portal)
        now = now_ms or to_ms(utc_now())
        for group, (records, oldest_ms) in waiting.items():
            seconds, state = max(0.0, (now - oldest_ms) / 1000) if records else 0.0, at[group]
            row: dict[str, Any] = {"partition": partition, "records": records, "seconds": seconds}
            row["owner"] = state.owner if state else None
            rows[group].append(row if portal is None else {"portal": portal, **row})
    return rows


async def _parked(
    inspector: Inspector, settings: QueueSettings, portal: str | None, partitions: list[int]
) -> dict[int, int]:
    """Partition → how many records of parked portals wait, beside those of the topic; nothing where that can't be read.

    The rest is worth knowing also to one who may not read the parked stream, or when nobody has made it yet.
    """
    found = parking_views(inspector, settings.topic, [settings.group], partitions)
    try:
        return {one.partition: sum(waiting.records for waiting in one.waiting(portal)) async for one in found}
    except QueueError:
        return {}


async def _waiting(
    inspector: Inspector, topic: str, partition: int, spans: Mapping[str, tuple[int, int]], portal: str | None
) -> dict[str, tuple[int, int]]:
    """Group → how many records wait in its span, and the timestamp of the first. All spans have one end."""
    if portal is None:
        return {group: await _waiting_of_all(inspector, topic, partition, span) for group, span in spans.items()}
    start, end = min(spans.values(), default=(0, 0))
    # Numbers alone: a portal may have a million.
    offsets, times_ms = array("q"), array("q")
    async for record in between(inspector, topic, partition, start, end):
        if record.key == portal:
            offsets.append(record.offset)
            times_ms.append(record.timestamp_ms)
    firsts = {group: bisect_left(offsets, begin) for group, (begin, _) in spans.items()}
    waiting = {group: len(offsets) - first for group, first in firsts.items()}
    return {group: (many, times_ms[firsts[group]] if many else 0) for group, many in waiting.items()}


async def _waiting_of_all(inspector: Inspector, topic: str, partition: int, span: tuple[int, int]) -> tuple[int, int]:
    first = await inspector.read(topic, partition, span[0], 1)
    waits = bool(first) and first[0].offset < span[1]
    return (span[1] - first[0].offset, first[0].timestamp_ms) if waits else (0, 0)
