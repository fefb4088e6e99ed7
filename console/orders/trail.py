"""What operators did, as the audit stream has it: their orders, and the moves of whole queues."""

from collections.abc import AsyncIterator
from datetime import datetime

from forebay.console.reading import looked_at
from forebay.console.terminal.output import Row
from forebay.console.times import from_ms, iso, to_ms
from forebay.processors.parking import orders
from forebay.processors.parking.orders import Order
from forebay.queues.contract import Inspector, StoredRecord
from forebay.queues.moves.marker import Marker, Return, read_marker
from forebay.queues.reading import between
from forebay.schemas import names

from .orders import count_of


async def trail(
    inspector: Inspector, topic: str, portal: str | None, since: datetime | None, until: datetime | None
) -> list[Row]:
    """All of it, the oldest first, as rows."""
    found = [one async for one in deeds(inspector, topic, portal, since, until)]
    return [row for _, row in sorted(found, key=lambda one: one[0])]


async def deeds(
    inspector: Inspector, topic: str, portal: str | None, since: datetime | None, until: datetime | None
) -> AsyncIterator[tuple[datetime, Row]]:
    """When, and what as a row; a partition after the other."""
    stream = names.audit(topic)
    bounds = await inspector.bounds(stream)
    for partition in await looked_at(inspector, stream, portal, bounds):
        start = bounds[partition].start
        if since is not None:
            start = await inspector.offset_at(stream, partition, to_ms(since))
        async for record in between(inspector, stream, partition, start, bounds[partition].end):
            at_ms = record.timestamp_ms
            is_in_time = (since is None or at_ms >= to_ms(since)) and (until is None or at_ms < to_ms(until))
            if portal in (None, record.key) and is_in_time and (row := _row_of(record)) is not None:
                yield from_ms(at_ms), row


def _row_of(record: StoredRecord) -> Row | None:
    if (order := orders.read(record)) is not None:
        return _row(order, record.partition)
    marker = read_marker(record)
    return _row_of_move(marker, record) if marker is not None else None


def _row_of_move(marker: Marker | Return, record: StoredRecord) -> Row:
    group, other, why = _told(marker)
    return {
        "at": iso(from_ms(marker.at_ms)),
        "who": marker.who,
        "what": "move",
        "portal": None,
        "group": group,
        "stream": other,
        "records": None,
        "why": why,
        "partition": record.partition,
        "offset": record.offset,
    }


def _told(marker: Marker | Return) -> tuple[str | None, str, str]:
    """Whose events were moved, the other queue, and which part of a move it is."""
    if isinstance(marker, Return):
        return None, marker.source, "back"
    return marker.group, marker.target, "done" if marker.is_done else "begun"


def _row(order: Order, partition: int) -> Row:
    return {
        "at": iso(from_ms(order.at_ms)),
        "who": order.who,
        "what": str(order.what),
        "portal": order.portal,
        "group": order.group or None,
        "stream": order.stream,
        "records": count_of(order) if order.spans else None,
        "why": order.why or None,
        "partition": partition,
        "offset": order.offset,
    }
