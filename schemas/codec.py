"""Bytes ↔ `PortalEvent`: Avro, behind one of two prefixes.

Sources: Avro specification 1.12, "Single-object encoding": `C3 01`, the schema's CRC-64-AVRO fingerprint (little
endian), then the record; and Confluent's "Wire format": `00`, the id that a schema registry gave the schema (big
endian), then the record.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_reader
from fastavro.schema import fingerprint, to_parsing_canonical_form

from forebay.schemas import envelope
from forebay.schemas.binary import ABSENT, FALSE, PRESENT, TRUE, array, long, octets, text, text_or_null, texts, word
from forebay.schemas.envelope import Headers, Told
from forebay.schemas.errors import ForebayError
from forebay.schemas.event import Body, Pair, PortalEvent, Sealed, Subscription
from forebay.schemas.scan import FINGERPRINT, fields_of

_MARKER = b"\xc3\x01"
_HEADER_BYTES = 10

_REGISTRY_MARKER = b"\x00"
_REGISTRY_HEADER_BYTES = 5
#: Registries count their schemas in 32 bits with a sign.
MAX_SCHEMA_ID = 2**31 - 1

#: The first field that is not of the head; from here on a record is decoded only when somebody looks.
_BODY_STARTS_AT = "as_sent"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_US = timedelta(microseconds=1)

Schema = dict[str, Any]


class UndecodableEvent(ForebayError):
    """These bytes are not a record that Forebay wrote, or were written by a newer version of it."""


class UnknownSchemaId(UndecodableEvent):
    """The schema has an id of a schema registry that the codec was not taught; its `learn` may make it readable."""

    def __init__(self, schema_id: int) -> None:
        super().__init__(
            f"the record's schema has the id {schema_id} of a schema registry, and is none that is known here "
            "(setting schema_registry_url)"
        )
        self.schema_id = schema_id


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    """A schema that records were written with, whole and cut in two, and what this version reads them as."""

    writer: Any
    writer_head: Any
    writer_body: Any
    reader: Any
    reader_head: Any
    reader_body: Any
    #: Its records are those that `scan` is written for.
    is_scanned: bool


class Codec:
    """Encodes with one schema, and decodes what was written with it or with an earlier one of its line.

    Thread-safe. `schemas` goes from the oldest to the newest. A later version may add fields that have a default, and
    must leave the order of the head and the body as it is.
    """

    def __init__(self, schemas: list[Schema]) -> None:
        newest = schemas[-1]
        self._prefix = _MARKER + _fingerprint(newest)
        self._versions = {_MARKER + _fingerprint(schema): _version(schema, newest) for schema in schemas}
        #: The same by what stands before a record that was written with a schema registry.
        self._registered: dict[bytes, _Version] = {}

    def learn(self, schema_id: int, schema: str) -> bool:
        """Decode records with this id of a registry from now on, if its schema is one of ours; whether it is.

        What counts is how its records look: formatting, docs and the order of keys in the JSON don't matter.
        """
        version = self._versions.get(_MARKER + _fingerprint_of(schema))
        if version is None or not 0 <= schema_id <= MAX_SCHEMA_ID:
            return False
        self._registered[_registry_prefix(schema_id)] = version
        return True

    def unknown_id(self, value: bytes) -> int | None:
        """The id that must be learnt before the value can be decoded; None where none would help."""
        try:
            self._written_with(value)
        except UnknownSchemaId as error:
            return error.schema_id
        except UndecodableEvent:
            pass
        return None

    def write_with(self, schema_id: int) -> None:
        """Encode in Confluent's wire format from now on, with the id that a registry gave the newest schema."""
        self._prefix = _registry_prefix(schema_id)

    def encode(self, event: PortalEvent) -> bytes:
        """The event as a record's value. The same event gives the same bytes."""
        body = event._body
        return self.pack(
            id=event.id,
            portal=event.portal,
            member_id=event.member_id,
            kind=event.kind,
            name=event.name,
            occurred_at_ms=None if event.occurred_at is None else (event.occurred_at - _EPOCH) // _MS,
            received_at_us=(event.received_at - _EPOCH) // _US,
            source=event.source,
            subscription_id=event.subscription.id,
            endpoint=event.subscription.endpoint,
            verified=event.subscription.verified,
            path=event.path,
            query=event.query,
            traceparent=event.traceparent,
            sealed=event.sealed,
            as_sent=body.as_sent,
            fields=body.fields,
        )

    def pack(
        self,
        *,
        id: str,
        portal: str,
        member_id: str | None,
        kind: str,
        name: str,
        occurred_at_ms: int | None,
        received_at_us: int,
        source: str,
        subscription_id: str | None,
        endpoint: str,
        verified: bool,
        path: str,
        query: str,
        traceparent: str | None,
        sealed: Sealed | None,
        as_sent: tuple[Pair, ...] | None,
        fields: Mapping[str, str],
    ) -> bytes:
        """The same from an event's parts, for whoever has no event yet. Times are since the epoch."""
        return b"".join(
            (
                self._prefix,
                text(id),
                text(portal),
                text_or_null(member_id),
                word(kind),
                word(name),
                ABSENT if occurred_at_ms is None else PRESENT + long(occurred_at_ms),
                long(received_at_us),
                word(source),
                text_or_null(subscription_id),
                word(endpoint),
                TRUE if verified else FALSE,
                text(path),
                text(query),
                text_or_null(traceparent),
                ABSENT if sealed is None else PRESENT + _sealed(sealed),
                PRESENT + array(octets(path) + octets(value) for path, value in as_sent) if as_sent else ABSENT,
                texts(fields),
            )
        )

    def decode(self, value: bytes, headers: Headers = ()) -> PortalEvent:
        """The event of a record's value. `fields`, `data` and `auth` are decoded when they are first touched.

        With the record's headers, where they tell portal, kind and name, so is all the rest: only the encoding and the
        version are looked at here. Raises `UndecodableEvent`, and nothing else; the first touch of what was not
        decoded may raise it too. It does when value and headers turn out to tell of different events: which of them
        a producer meant nobody can know, and half of each must not reach a handler.
        """
        version, start = self._written_with(value)
        told = envelope.told(headers)
        reading = _Reading(value, start, version, told)
        if told is None:
            return PortalEvent(**reading.head(), body=reading.body)
        return PortalEvent.partly_read(reading, told)

    def _written_with(self, value: bytes) -> tuple[_Version, int]:
        """The version that wrote the value, and where the record starts in it."""
        version = self._versions.get(value[:_HEADER_BYTES])
        if version is not None:
            return version, _HEADER_BYTES
        version = self._registered.get(value[:_REGISTRY_HEADER_BYTES])
        if version is not None:
            return version, _REGISTRY_HEADER_BYTES
        raise _unknown(value)


class _Reading:
    """Reads the value of one event, as far as somebody looks: nothing, the head, or the head and the body."""

    __slots__ = ("_body_at", "_raw", "_start", "_told", "_value", "_version")

    def __init__(self, value: bytes, start: int, version: _Version, told: Told | None) -> None:
        self._value, self._start, self._version, self._told = value, start, version, told
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
        if (fields := self._scanned()) is not None:
            return Body(fields=fields)
        if self._raw is not None:
            return _body(self._read(self._body_at, version.writer_body, version.reader_body)[0])
        # Both at once take less than one after the other.
        raw, _ = self._read(self._start, version.writer, version.reader)
        self._check(raw)
        return _body(raw)

    def fields_under(self, name: str) -> Mapping[str, str] | None:
        """As in `Reading`."""
        return self._scanned(name.encode())

    def _scanned(self, top: bytes = b"") -> Mapping[str, str] | None:
        if self._told is None or not self._version.is_scanned:
            return None
        return fields_of(self._value, self._start, self._told, top)

    def _read_head(self) -> Mapping[str, Any]:
        if self._raw is None:
            raw, end = self._read(self._start, self._version.writer_head, self._version.reader_head)
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


def _fingerprint_of(text: str) -> bytes:
    """The fingerprint of a schema in JSON; no bytes when it is none of Avro's."""
    try:
        return _fingerprint(json.loads(text))
    # A registry keeps what others wrote, and fastavro raises whatever its parts raise: KeyError, RecursionError…
    except Exception:
        return b""


def _registry_prefix(schema_id: int) -> bytes:
    return _REGISTRY_MARKER + schema_id.to_bytes(_REGISTRY_HEADER_BYTES - 1)


def _version(writer: Schema, reader: Schema) -> _Version:
    head, body = _cut(writer)
    # Without a reader schema fastavro skips the resolution of one against the other.
    reader_head, reader_body = (None, None) if writer is reader else _cut(reader)
    return _Version(
        writer=parse_schema(_plain(writer)),
        writer_head=head,
        writer_body=body,
        reader=None if writer is reader else parse_schema(_plain(reader)),
        reader_head=reader_head,
        reader_body=reader_body,
        is_scanned=_fingerprint(writer) == FINGERPRINT,
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


def _unknown(value: bytes) -> UndecodableEvent:
    if value[:2] == _MARKER:
        known = value[2:_HEADER_BYTES].hex()
        return UndecodableEvent(f"the record's schema {known} is unknown here; it may be a newer Forebay's")
    schema_id = int.from_bytes(value[1:_REGISTRY_HEADER_BYTES])
    if value[:1] == _REGISTRY_MARKER and len(value) > _REGISTRY_HEADER_BYTES and schema_id <= MAX_SCHEMA_ID:
        return UnknownSchemaId(schema_id)
    return UndecodableEvent(f"the record does not start as an event does (first bytes: {value[:4].hex() or 'none'})")


def _sealed(sealed: Sealed) -> bytes:
    return text(sealed.key_id) + octets(sealed.nonce) + octets(sealed.ciphertext)


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


def _body(found: Mapping[str, Any]) -> Body:
    pairs = found["as_sent"]
    return Body(fields=found["fields"], as_sent=pairs and tuple((pair["path"], pair["value"]) for pair in pairs))


@cache
def schema_texts() -> tuple[str, ...]:
    """The schema of every version of the record that this Forebay knows, as in its file, the oldest first."""
    folder = files("forebay.schemas") / "avro"
    found = sorted((file for file in folder.iterdir() if file.name.endswith(".avsc")), key=_number)
    return tuple(file.read_text("utf-8").strip() for file in found)


def new_codec() -> Codec:
    """A codec for every version of the record, for one who may teach it the ids of a schema registry."""
    return Codec([json.loads(text) for text in schema_texts()])


@cache
def codec() -> Codec:
    """The codec that is everybody's, and is taught nothing: it knows the single-object encoding alone."""
    return new_codec()


def _number(file: Any) -> int:
    """2 for portal_event.v2.avsc."""
    return int(file.name.split(".")[1].removeprefix("v"))
