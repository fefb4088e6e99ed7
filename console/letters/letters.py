"""What could not be handled or read, as it stands in its stream, and which of it is still open."""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from forebay.console.orders.orders import dealt_with
from forebay.console.reading import is_called, looked_at
from forebay.console.times import from_ms, iso
from forebay.queues.contract import Inspector, StoredRecord
from forebay.queues.reading import between
from forebay.schemas import names
from forebay.schemas.codec import Codec
from forebay.schemas.errors import UndecodableEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A record that was given up, or a call that could not be read, with the reason."""

    id: str
    name: str | None
    error: str
    error_class: str
    attempts: int
    at: datetime
    record: StoredRecord

    def row(self) -> dict[str, object]:
        """What lists show of it."""
        return {
            "id": self.id,
            "portal": self.record.key,
            "name": self.name,
            "error": self.error,
            "error_class": self.error_class,
            "attempts": self.attempts,
            "partition": self.record.partition,
            "offset": self.record.offset,
            "at": iso(self.at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which letters are meant; what is None or empty takes all."""

    ids: tuple[str, ...] = ()
    portal: str | None = None
    event: str | None = None
    error: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether the letter is meant."""
        told = f"{letter.error_class}: {letter.error}".lower()
        return (
            (not self.ids or letter.id in self.ids)
            and self.portal in (None, letter.record.key)
            and (self.event is None or is_called(letter.name or "", self.event))
            and (self.error is None or self.error.lower() in told)
            and (self.since is None or letter.at >= self.since)
            and (self.until is None or letter.at < self.until)
        )


def headers_of(record: StoredRecord) -> dict[str, str]:
    """The headers as text."""
    return {name: value.decode(errors="replace") for name, value in record.headers}


def dead_letter(record: StoredRecord, codec: Codec) -> Letter:
    """A record of the dead letters."""
    headers = headers_of(record)
    event_id, name = _identity(record, headers, codec)
    return Letter(
        id=event_id,
        name=name,
        error=headers.get(names.DEAD_ERROR, ""),
        error_class=headers.get(names.DEAD_ERROR_CLASS, ""),
        attempts=_number(headers.get(names.DEAD_ATTEMPTS)),
        at=_at(headers.get(names.DEAD_AT), record),
        record=record,
    )


def quarantined(record: StoredRecord, codec: Codec) -> Letter:
    """A record of the quarantine: mostly no event, so the codec is not asked; never tried, and maybe without a name."""
    headers = headers_of(record)
    return Letter(
        id=headers.get(names.QUARANTINE_ID) or _place(record),
        # What the queue had refused as it came out of the spool is an event.
        name=headers.get(names.QUARANTINE_NAME) or names.name_of(headers.get(names.CE_TYPE, "")) or None,
        error=headers.get(names.QUARANTINE_DETAIL, ""),
        error_class=headers.get(names.QUARANTINE_REASON, ""),
        attempts=0,
        at=_at(headers.get(names.QUARANTINE_AT), record),
        record=record,
    )


def _identity(record: StoredRecord, headers: dict[str, str], codec: Codec) -> tuple[str, str | None]:
    try:
        event = codec.decode(record.value)
    except UndecodableEvent:
        return headers.get(names.CE_ID) or _place(record), None
    return event.id, event.name


def _place(record: StoredRecord) -> str:
    """A name for what has none: where it stands."""
    return f"{record.partition}-{record.offset}"


def _number(text: str | None) -> int:
    # What another program has put there has any headers, and hides no letter of ours.
    with suppress(ValueError):
        return int(text or 0)
    return 0


def _at(text: str | None, record: StoredRecord) -> datetime:
    with suppress(ValueError):
        if (at := datetime.fromisoformat(text or "")).tzinfo is not None:
            return at
    return from_ms(record.timestamp_ms)


async def open_records(
    inspector: Inspector, topic: str, stream: str, portal: str | None = None
) -> AsyncIterator[StoredRecord]:
    """The stream's records that no operator has dealt with, a partition after the other."""
    bounds = await inspector.bounds(stream)
    partitions = await looked_at(inspector, stream, portal, bounds)
    done = await dealt_with(inspector, topic, stream, partitions)
    for partition in partitions:
        kept = bounds[partition]
        async for record in between(inspector, stream, partition, kept.start, kept.end):
            if not done.has(partition, record.offset):
                yield record


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A stream of letters, and how one is read from its record."""

    what: str
    stream: Callable[[str], str]
    read: Callable[[StoredRecord, Codec], Letter]


BOXES = {
    "dead": Box(what="dead letter", stream=names.dead, read=dead_letter),
    "quarantine": Box(what="quarantined call", stream=names.quarantine, read=quarantined),
}


async def letters(inspector: Inspector, codec: Codec, box: Box, topic: str, wanted: Filter) -> AsyncIterator[Letter]:
    """The box's open letters that are meant."""
    async for record in open_records(inspector, topic, box.stream(topic), wanted.portal):
        letter = box.read(record, codec)
        if wanted.takes(letter):
            yield letter
