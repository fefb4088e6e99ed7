"""How far a group is behind, a row a partition."""

from collections.abc import Mapping, Sequence

from forebay.queues.contract import Inspector
from forebay.queues.errors import QueueError
from forebay.queues.settings import QueueSettings

from .orders.parking_view import parking_views
from .reading import between, firsts, inspected, opened, partitions_of
from .terminal.output import Row, note
from .times import to_ms, utc_now

#: Partition → from which offset, and up to which one.
_Spans = Mapping[int, tuple[int, int]]


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
    topic = settings.topic
    bounds = await inspector.bounds(topic)
    states = (await inspector.groups(topic, [settings.group])).get(settings.group, {})
    looked_at = partitions_of(portal, len(bounds))
    parked = await _parked(inspector, settings, portal, looked_at)
    offsets = {number: states[number].offset if number in states else 0 for number in looked_at}
    spans = {number: (max(bounds[number].start, offsets[number]), bounds[number].end) for number in looked_at}
    found = await (_all(inspector, topic, spans) if portal is None else _of_portal(inspector, topic, spans, portal))
    rows: list[Row] = []
    for partition in looked_at:
        state, (waiting, oldest_ms) = states.get(partition), found.get(partition, (0, 0))
        seconds = max(0.0, ((now_ms or to_ms(utc_now())) - oldest_ms) / 1000) if waiting else 0.0
        row = {"partition": partition, "records": waiting, "seconds": seconds, "owner": state.owner if state else None}
        row["parked"] = parked.get(partition)
        rows.append(row if portal is None else {"portal": portal, **row})
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


async def _all(inspector: Inspector, topic: str, spans: _Spans) -> dict[int, tuple[int, int]]:
    """Partition → how many records wait in its span, and the timestamp of the first; nothing where none does."""
    first = await firsts(inspector, topic, spans)
    return {number: (spans[number][1] - one.offset, one.timestamp_ms) for number, one in first.items()}


async def _of_portal(inspector: Inspector, topic: str, spans: _Spans, portal: str) -> dict[int, tuple[int, int]]:
    """The same of one portal's."""
    found: dict[int, tuple[int, int]] = {}
    for number, span in spans.items():
        times = [one.timestamp_ms async for one in between(inspector, topic, number, *span) if one.key == portal]
        if times:
            found[number] = len(times), times[0]
    return found
