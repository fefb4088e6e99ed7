"""What could not be handled or read, as it stands in its stream, and which of it is still open."""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase

from forebay.queues.contract import Bounds, Inspector, StoredRecord
from forebay.schemas import names
from forebay.schemas.codec import Codec
from forebay.schemas.errors import UndecodableEvent

from .reading import between, partitions_of
from .times import from_ms, iso


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

    @property
    def place(self) -> tuple[int, int]:
        """Its partition and offset."""
        return self.record.partition, self.record.offset

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
    places: frozenset[tuple[int, int]] | None = None

    def exactly(self, shown: Iterable[Letter]) -> "Filter":
        """The same for these letters alone: what came since they were shown is not meant."""
        return replace(self, places=frozenset(letter.place for letter in shown))

    def takes(self, letter: Letter) -> bool:
        """Whether the letter is meant."""
        told = f"{letter.error_class}: {letter.error}".lower()
        return (
            (not self.ids or letter.id in self.ids)
            and self.portal in (None, letter.record.key)
            and (self.event is None or fnmatchcase(letter.name or "", self.event))
            and (self.error is None or self.error.lower() in told)
            and (self.since is None or letter.at >= self.since)
            and (self.until is None or letter.at < self.until)
            and (self.places is None or letter.place in self.places)
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
        attempts=int(headers.get(names.DEAD_ATTEMPTS) or 0),
        at=_at(headers.get(names.DEAD_AT), record),
        record=record,
    )


def quarantined(record: StoredRecord, codec: Codec) -> Letter:
    """A record of the quarantine: no event, so the codec is not asked; never tried, and without a name."""
    headers = headers_of(record)
    return Letter(
        id=headers.get(names.QUARANTINE_ID) or _place(record),
        name=None,
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


def _at(text: str | None, record: StoredRecord) -> datetime:
    try:
        return datetime.fromisoformat(text or "")
    except ValueError:
        return from_ms(record.timestamp_ms)


async def open_records(inspector: Inspector, stream: str, portal: str | None = None) -> AsyncIterator[StoredRecord]:
    """The stream's records that no later record says are resolved, a partition after the other."""
    bounds = await inspector.bounds(stream)
    for partition in partitions_of(portal, len(bounds)):
        resolved = await _resolved(inspector, stream, partition, bounds[partition])
        async for record in between(inspector, stream, partition, bounds[partition].start, bounds[partition].end):
            if record.offset not in resolved and _resolves(record) is None:
                yield record


async def _resolved(inspector: Inspector, stream: str, partition: int, bounds: Bounds) -> frozenset[int]:
    # A pass of its own keeps memory at one number a resolution, where waiting for it would hold every open letter.
    records = between(inspector, stream, partition, bounds.start, bounds.end)
    return frozenset([offset async for record in records if (offset := _resolves(record)) is not None])


def _resolves(record: StoredRecord) -> int | None:
    """The offset that this record says was dealt with; None when it is a letter itself."""
    return next((int(value) for name, value in record.headers if name == names.RESOLVED_OFFSET), None)


def without(headers: Iterable[tuple[str, bytes]], prefix: str) -> tuple[tuple[str, bytes], ...]:
    """The headers but those of the prefix."""
    return tuple((name, value) for name, value in headers if not name.startswith(prefix))


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
    async for record in open_records(inspector, box.stream(topic), wanted.portal):
        letter = box.read(record, codec)
        if wanted.takes(letter):
            yield letter
