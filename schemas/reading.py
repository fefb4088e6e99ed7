"""Reads the value of one event, as far as somebody looks."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

from fastavro import schemaless_reader

from .errors import UndecodableEvent
from .event import Body, Sealed, Subscription
from .scan import Seen, fields_of, fields_under
from .versions import Version, known_versions

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)
US = timedelta(microseconds=1)


class Reading:
    """Reads values as far as somebody looks, of records that begin as one was seen to.

    Thread-safe. They were written with the version, from `start` on; `rest` is where the head goes on behind what was
    scanned of it, and `seen` of the record before.
    """

    __slots__ = ("_rest", "_seen", "_start", "_version")

    def __init__(self, start: int, version: Version, rest: int | None = None, seen: Seen | None = None) -> None:
        self._start, self._version, self._rest, self._seen = start, version, rest, seen

    def __reduce__(self) -> tuple[object, ...]:
        # For another process, which knows the versions by their fingerprints, and nothing of a registry's ids.
        return _unpickled, (self._start, self._version.fingerprint, self._rest)

    def head(self, value: bytes) -> dict[str, Any]:
        """The attributes that stand in the head."""
        try:
            return _from_avro(self._read(value, self._version.writer_head, self._version.reader_head))
        except OverflowError as error:
            raise UndecodableEvent(f"the record has a time that is none: {error}") from error

    def body(self, value: bytes) -> Body:
        """As in `BodySource`."""
        if self._rest is not None and (fields := fields_of(value, self._rest)) is not None:
            return Body(fields=fields)
        return _body(self._read(value, self._version.writer, self._version.reader))

    def fields_under(self, value: bytes, name: str) -> tuple[tuple[str, ...], Sequence[str]] | None:
        """As in `Reading`."""
        return None if self._rest is None else fields_under(value, self._rest, name.encode(), self._seen)

    def _read(self, value: bytes, writer: Any, reader: Any) -> Any:
        source = BytesIO(value)
        source.seek(self._start)
        try:
            return schemaless_reader(source, writer, reader)
        # Hostile bytes make fastavro raise whatever its parts raise: EOFError, IndexError, UnicodeDecodeError…
        except Exception as error:
            raise UndecodableEvent(f"the record is broken: {type(error).__name__}: {error}") from error


def _unpickled(start: int, fingerprint: bytes, rest: int | None) -> Reading:
    return Reading(start, known_versions()[fingerprint], rest)


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
