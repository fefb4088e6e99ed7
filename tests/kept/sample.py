"""A format of what outlives the process that wrote it, and the values that the formats' samples are made of."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from forebay.queues.contract import PlacedRecord, Record
from forebay.queues.rabbitmq import places, records
from forebay.schemas.event import Body, PortalEvent, Subscription

ID, PORTAL, MEMBER = "0192f0c4-1111-7222-8333-444455556666", "some.bitrix24.ru", "a223c6b3710f85df22e9377d6c4f7553"
AT_MS = 1_780_000_000_123
SEAL_KEYS, NONCE = {"2026": bytes(range(32))}, bytes(range(12))


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """`read` gives `means`, for what `write` gives and for what any earlier Forebay has written."""

    write: Callable[[], bytes]
    read: Callable[[bytes], object]
    means: object
    #: Of two that mean the same the bytes may differ: a nonce is drawn, or a library packs in its own way.
    varies: bool = False


def same(write: Callable[[], bytes]) -> Format:
    """What is looked up and never read."""
    return Format(write=write, read=lambda found: found == write(), means=True)


def event(**changes: Any) -> PortalEvent:
    given: dict[str, Any] = {
        "id": ID,
        "portal": PORTAL,
        "member_id": MEMBER,
        "kind": "event",
        "name": "ONCRMDEALADD",
        "occurred_at": datetime(2026, 5, 28, 20, 26, 40, tzinfo=UTC),
        "received_at": datetime(2026, 5, 28, 20, 26, 40, 123456, UTC),
        "subscription": Subscription(id="185", endpoint="/bitrix24", verified=True),
        "path": "shop",
        "query": "a=1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "body": lambda: Body(fields={"event": "ONCRMDEALADD", "data[FIELDS][TITLE]": "сделка"}),
    }
    return PortalEvent(**{**given, **changes})


#: A record, with what may stand in each of its parts.
RECORD = PlacedRecord(
    key=PORTAL,
    value=b"\0value\xff",
    timestamp_ms=AT_MS,
    headers=(("ce_id", ID.encode()), ("", b""), ("ключ", b"\0\xff")),
    stream="events",
    partition=5,
    offset=17,
)

KEPT = Record(key=RECORD.key, value=RECORD.value, timestamp_ms=AT_MS, headers=RECORD.headers)


def packed(record: Record) -> bytes:
    """As a record stands in RabbitMQ; all of it."""
    return places.at_place(17, 2, places.entry(b"a writer", 4, 1, records.packed(record)))


def stands(octets: bytes) -> PlacedRecord:
    placed = places.placed(19, octets)
    assert placed is not None and placed.is_sure
    found = records.record("events", 5, placed.place, placed.entry)
    assert found is not None
    return found
