"""Reads the value of one event, as far as somebody looks."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

from fastavro import schemaless_reader

from .errors import UndecodableEvent
from .event import Body, Sealed, Subscription
from .scan import fields_of
from .versions import Version, known_versions

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)
US = timedelta(microseconds=1)


class Reading:
    """Reads the value of one event, as far as somebody looks: nothing, the head, or the head and the body."""

    __slots__ = ("_body_at", "_raw", "_rest", "_start", "_value", "_version")

    def __init__(self, value: bytes, start: int, version: Version, rest: int | None = None) -> None:
        """`rest` is where its head goes on behind what was scanned of it."""
        self._value, self._start, self._version, self._rest = value, start, version, rest
        self._raw: Mapping[str, Any] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        # For another process, which knows the versions by their fingerprints, and nothing of a registry's ids.
        rest = None if self._rest is None else self._rest - self._start
        return _unpickled, (self._version.fingerprint, self._value[self._start :], rest)

    def head(self) -> dict[str, Any]:
        """The attributes that stand in the head."""
        try:
            return _from_avro(self._read_head())
        except OverflowError as error:
            raise UndecodableEvent(f"the record has a time that is none: {error}") from error

    def body(self) -> Body:
        """As in `BodySource`."""
        version = self._version
        if (fields := self._scanned()) is not None:
            return Body(fields=fields)
        if self._raw is not None:
            return _body(self._read(self._body_at, version.writer_body, version.reader_body)[0])
        # Both at once take less than one after the other.
        return _body(self._read(self._start, version.writer, version.reader)[0])

    def fields_under(self, name: str) -> Mapping[str, str] | None:
        """As in `Reading`."""
        return self._scanned(name.encode())

    def _scanned(self, top: bytes = b"") -> Mapping[str, str] | None:
        return None if self._rest is None else fields_of(self._value, self._rest, top)

    def _read_head(self) -> Mapping[str, Any]:
        if self._raw is None:
            version = self._version
            raw, self._body_at = self._read(self._start, version.writer_head, version.reader_head)
            # Last: in another thread `body` takes it for the sign that it is known where the body stands.
            self._raw = raw
        return self._raw

    def _read(self, start: int, writer: Any, reader: Any) -> tuple[Any, int]:
        """What stands at the place, and where it ends."""
        source = BytesIO(self._value)
        source.seek(start)
        try:
            return schemaless_reader(source, writer, reader), source.tell()
        # Hostile bytes make fastavro raise whatever its parts raise: EOFError, IndexError, UnicodeDecodeError…
        except Exception as error:
            raise UndecodableEvent(f"the record is broken: {type(error).__name__}: {error}") from error


def _unpickled(fingerprint: bytes, record: bytes, rest: int | None) -> Reading:
    return Reading(record, 0, known_versions()[fingerprint], rest)


def _from_avro(head: Mapping[str, Any]) -> dict[str, Any]:
    sealed, occurred_at = head["sealed"], head["occurred_at"]
    return {
        "id": head["id"],
        "portal": head["portal"],
        "member_id": head["member_id"],
        "kind": head["kind"],
        "name": head["name"],
        "occurred_at": None if occurred_at is None else EPOCH + occurred_at * MS,
        "received_at": EPOCH + head["received_at"] * US,
        "subscription": Subscription(**head["subscription"]),
        "source": head["source"],
        "path": head["path"],
        "query": head["query"],
        "traceparent": head["traceparent"],
        "sealed": sealed and Sealed(**sealed),
    }


def _body(found: Mapping[str, Any]) -> Body:
    pairs = found["as_sent"]
    return Body(fields=found["fields"], as_sent=pairs and tuple((pair["path"], pair["value"]) for pair in pairs))
