"""How far a group is behind, a row a partition."""

from array import array
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from forebay.queues.contract import Bounds, GroupState, Inspector
from forebay.queues.errors import QueueError
from forebay.queues.reading import between
from forebay.queues.settings import QueueSettings

from .orders.parking_view import parking_views
from .reading import firsts, inspected, looked_at, opened
from .terminal.output import Row, note
from .times import to_ms, utc_now

#: Group → partition → from which offset, and up to which one; the end is the same for all.
_Spans = Mapping[str, Mapping[int, tuple[int, int]]]

#: Group → partition → how many records wait there, and the timestamp of the first; nothing where none does.
_Waiting = dict[str, dict[int, tuple[int, int]]]


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
    return f"nobody ever read as group {group}, but {', '.join(others)} did: is the group right (--group)?"


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
    numbers = await looked_at(inspector, topic, portal, bounds)
    spans = {
        group: {number: _span(bounds[number], states.get(group, {}).get(number)) for number in numbers}
        for group in groups
    }
    found = await (_of_all(inspector, topic, spans) if portal is None else _of_portal(inspector, topic, spans, portal))
    now = now_ms or to_ms(utc_now())
    rows: dict[str, list[dict[str, Any]]] = {group: [] for group in groups}
    for group in groups:
        for number in numbers:
            state, (records, oldest_ms) = states.get(group, {}).get(number), found[group].get(number, (0, 0))
            row: dict[str, Any] = {"partition": number, "records": records}
            row["seconds"] = max(0.0, (now - oldest_ms) / 1000) if records else 0.0
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


def _span(bounds: Bounds, state: GroupState | None) -> tuple[int, int]:
    return max(bounds.start, state.offset) if state else bounds.start, bounds.end


async def _of_all(inspector: Inspector, topic: str, spans: _Spans) -> _Waiting:
    found: _Waiting = {}
    for group, its in spans.items():
        first = await firsts(inspector, topic, its)
        found[group] = {number: (its[number][1] - one.offset, one.timestamp_ms) for number, one in first.items()}
    return found


async def _of_portal(inspector: Inspector, topic: str, spans: _Spans, portal: str) -> _Waiting:
    """The same of one portal's, which all stand in one partition."""
    if not spans:
        return {}
    [number] = {number for its in spans.values() for number in its}
    start, end = min(its[number] for its in spans.values())
    # Numbers alone: a portal may have a million.
    offsets, times_ms = array("q"), array("q")
    async for record in between(inspector, topic, number, start, end):
        if record.key == portal:
            offsets.append(record.offset)
            times_ms.append(record.timestamp_ms)
    found: _Waiting = {}
    for group, its in spans.items():
        first = bisect_left(offsets, its[number][0])
        found[group] = {number: (len(offsets) - first, times_ms[first])} if first < len(offsets) else {}
    return found
