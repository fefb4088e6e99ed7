"""Bytes ↔ `PortalEvent`: Avro in the single-object encoding.

Source of the encoding: Avro specification 1.12, "Single-object encoding": `C3 01`, the schema's CRC-64-AVRO
fingerprint (little endian), then the record.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.schema import fingerprint, to_parsing_canonical_form

from forebay.schemas import envelope
from forebay.schemas.envelope import Headers, Told
from forebay.schemas.errors import ForebayError
from forebay.schemas.event import Body, PortalEvent, Sealed, Subscription

_MARKER = b"\xc3\x01"
_HEADER_BYTES = 10

#: The first field that is not of the head; from here on a record is decoded only when somebody looks.
_BODY_STARTS_AT = "as_sent"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_US = timedelta(microseconds=1)

Schema = dict[str, Any]


class UndecodableEvent(ForebayError):
    """These bytes are not a record that Forebay wrote, or were written by a newer version of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    """A schema that records were written with, whole and cut in two, and what this version reads them as."""

    writer: Any
    writer_head: Any
    writer_body: Any
    reader: Any
    reader_head: Any
    reader_body: Any


class Codec:
    """Encodes with one schema, and decodes what was written with it or with an earlier one of its line.

    Thread-safe. `schemas` goes from the oldest to the newest. A later version may add fields that have a default, and
    must leave the order of the head and the body as it is.
    """

    def __init__(self, schemas: list[Schema]) -> None:
        newest = schemas[-1]
        self._whole = parse_schema(_plain(newest))
        self._prefix = _MARKER + _fingerprint(newest)
        self._versions = {_MARKER + _fingerprint(schema): _version(schema, newest) for schema in schemas}

    def encode(self, event: PortalEvent) -> bytes:
        """The event as a record's value. The same event gives the same bytes."""
        out = BytesIO()
        out.write(self._prefix)
        schemaless_writer(out, self._whole, _to_avro(event))
        return out.getvalue()

    def decode(self, value: bytes, headers: Headers = ()) -> PortalEvent:
        """The event of a record's value. `fields`, `data` and `auth` are decoded when they are first touched.

        With the record's headers, where they tell portal, kind and name, so is all the rest: only the encoding and the
        version are looked at here. Raises `UndecodableEvent`, and nothing else; the first touch of what was not
        decoded may raise it too. It does when value and headers turn out to tell of different events: which of them
        a producer meant nobody can know, and half of each must not reach a handler.
        """
        version = self._versions.get(value[:_HEADER_BYTES])
        if version is None:
            raise UndecodableEvent(_why_unknown(value))
        told = envelope.told(headers)
        reading = _Reading(value, version, told)
        if told is None:
            return PortalEvent(**reading.head(), body=reading.body)
        return PortalEvent.partly_read(reading, told)


class _Reading:
    """Reads the value of one event, as far as somebody looks: nothing, the head, or the head and the body."""

    __slots__ = ("_body_at", "_raw", "_told", "_value", "_version")

    def __init__(self, value: bytes, version: _Version, told: Told | None) -> None:
        self._value, self._version, self._told = value, version, told
        self._raw: Mapping[str, Any] | None = None

    def head(self) -> dict[str, Any]:
        """The attributes that stand in the head."""
        try:
            return _from_avro(self._read_head())
        except OverflowError as error:
            raise UndecodableEvent(f"the record has a time that is none: {error}") from error

    def body(self) -> Body:
        """As in `BodySource`."""
        version = self._version
        if self._raw is not None:
            return _body(self._read(self._body_at, version.writer_body, version.reader_body)[0])
        # Both at once take less than one after the other.
        raw, _ = self._read(_HEADER_BYTES, version.writer, version.reader)
        self._check(raw)
        return _body(raw)

    def _read_head(self) -> Mapping[str, Any]:
        if self._raw is None:
            raw, end = self._read(_HEADER_BYTES, self._version.writer_head, self._version.reader_head)
            self._check(raw)
            self._raw, self._body_at = raw, end
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

    def _check(self, raw: Mapping[str, Any]) -> None:
        found = (raw["id"], raw["portal"], raw["kind"], raw["name"])
        if self._told not in (None, found):
            raise UndecodableEvent(f"the record's headers tell of the event {self._told}, its value of {found}")


def _fingerprint(schema: Schema) -> bytes:
    # fastavro prints the fingerprint's bytes in the order in which the encoding wants them.
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def _version(writer: Schema, reader: Schema) -> _Version:
    head, body = _cut(writer)
    whole = parse_schema(_plain(writer))
    if writer is reader:
        # Without a reader schema fastavro skips the resolution of one against the other.
        return _Version(
            writer=whole, writer_head=head, writer_body=body, reader=None, reader_head=None, reader_body=None
        )
    reader_head, reader_body = _cut(reader)
    return _Version(
        writer=whole,
        writer_head=head,
        writer_body=body,
        reader=parse_schema(_plain(reader)),
        reader_head=reader_head,
        reader_body=reader_body,
    )


def _cut(schema: Schema) -> tuple[Any, Any]:
    """The schema's head and body, each as a record of its own."""
    names = [field["name"] for field in schema["fields"]]
    at = names.index(_BODY_STARTS_AT)
    head = {**schema, "fields": schema["fields"][:at]}
    body = {**schema, "fields": schema["fields"][at:]}
    return parse_schema(_plain(head)), parse_schema(_plain(body))


def _plain(schema: Any) -> Any:
    """The schema without logical types, which don't change the bytes: fastavro's conversions cost half of a decode."""
    if isinstance(schema, dict):
        return {key: _plain(value) for key, value in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    return schema


def _why_unknown(value: bytes) -> str:
    if value[:2] != _MARKER:
        return f"the record does not start as an event does (first bytes: {value[:4].hex() or 'none'})"
    return f"the record's schema {value[2:_HEADER_BYTES].hex()} is unknown here; it may be a newer Forebay's"


def _to_avro(event: PortalEvent) -> dict[str, Any]:
    subscription, sealed, body = event.subscription, event.sealed, event._body
    return {
        "id": event.id,
        "portal": event.portal,
        "member_id": event.member_id,
        "kind": event.kind,
        "name": event.name,
        "occurred_at": event.occurred_at and _since_epoch(event.occurred_at) // _MS,
        "received_at": _since_epoch(event.received_at) // _US,
        "source": event.source,
        "subscription": {"id": subscription.id, "endpoint": subscription.endpoint, "verified": subscription.verified},
        "path": event.path,
        "query": event.query,
        "traceparent": event.traceparent,
        "sealed": sealed and {"key_id": sealed.key_id, "nonce": sealed.nonce, "ciphertext": sealed.ciphertext},
        "as_sent": body.as_sent and [{"path": path, "value": value} for path, value in body.as_sent],
        "fields": body.fields,
    }


def _from_avro(head: Mapping[str, Any]) -> dict[str, Any]:
    sealed, occurred_at = head["sealed"], head["occurred_at"]
    return {
        "id": head["id"],
        "portal": head["portal"],
        "member_id": head["member_id"],
        "kind": head["kind"],
        "name": head["name"],
        "occurred_at": None if occurred_at is None else _EPOCH + occurred_at * _MS,
        "received_at": _EPOCH + head["received_at"] * _US,
        "subscription": Subscription(**head["subscription"]),
        "source": head["source"],
        "path": head["path"],
        "query": head["query"],
        "traceparent": head["traceparent"],
        "sealed": sealed and Sealed(**sealed),
    }


def _since_epoch(at: datetime) -> timedelta:
    return at - _EPOCH


def _body(found: Mapping[str, Any]) -> Body:
    pairs = found["as_sent"]
    return Body(fields=found["fields"], as_sent=pairs and tuple((pair["path"], pair["value"]) for pair in pairs))


@cache
def codec() -> Codec:
    """The codec for every version of the record that this Forebay knows."""
    folder = files("forebay.schemas") / "avro"
    found = sorted((file for file in folder.iterdir() if file.name.endswith(".avsc")), key=_number)
    return Codec([json.loads(file.read_text("utf-8")) for file in found])


def _number(file: Any) -> int:
    """2 for portal_event.v2.avsc."""
    return int(file.name.split(".")[1].removeprefix("v"))
