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
from typing import Any, cast

from fastavro import parse_schema, schemaless_reader
from fastavro.schema import fingerprint, to_parsing_canonical_form

from forebay.schemas.binary import ABSENT, FALSE, PRESENT, TRUE, array, long, octets, text, text_or_null, texts
from forebay.schemas.errors import ForebayError
from forebay.schemas.event import Body, Pair, PortalEvent, Sealed, Subscription

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
    """A schema that records were written with, cut in two, and what this version reads them as."""

    writer_head: Any
    writer_body: Any
    reader_head: Any
    reader_body: Any


class Codec:
    """Encodes with one schema, and decodes what was written with it or with an earlier one of its line.

    Thread-safe. `schemas` goes from the oldest to the newest. A later version may add fields that have a default, and
    must leave the order of the head and the body as it is.
    """

    def __init__(self, schemas: list[Schema]) -> None:
        newest = schemas[-1]
        self._prefix = _MARKER + _fingerprint(newest)
        self._versions = {_MARKER + _fingerprint(schema): _version(schema, newest) for schema in schemas}

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
        id: str,  # noqa: A002 - the record's own word
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
                text(kind),
                text(name),
                ABSENT if occurred_at_ms is None else PRESENT + long(occurred_at_ms),
                long(received_at_us),
                text(source),
                text_or_null(subscription_id),
                text(endpoint),
                TRUE if verified else FALSE,
                text(path),
                text(query),
                text_or_null(traceparent),
                ABSENT if sealed is None else PRESENT + _sealed(sealed),
                PRESENT + array(octets(path) + octets(value) for path, value in as_sent) if as_sent else ABSENT,
                texts(fields),
            )
        )

    def decode(self, value: bytes) -> PortalEvent:
        """The event of a record's value. Reads the head only; `fields`, `data` and `auth` decode the rest when touched.

        Raises `UndecodableEvent`, and nothing else; the first touch of the rest may raise it too.
        """
        version = self._versions.get(value[:_HEADER_BYTES])
        if version is None:
            raise UndecodableEvent(_why_unknown(value))
        rest = BytesIO(value)
        rest.seek(_HEADER_BYTES)
        head = _read(rest, version.writer_head, version.reader_head)
        try:
            return _from_avro(head, lambda: _body(_read(rest, version.writer_body, version.reader_body)))
        except OverflowError as error:
            raise UndecodableEvent(f"the record has a time that is none: {error}") from error


def _fingerprint(schema: Schema) -> bytes:
    # fastavro prints the fingerprint's bytes in the order in which the encoding wants them.
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def _version(writer: Schema, reader: Schema) -> _Version:
    head, body = _cut(writer)
    # Without a reader schema fastavro skips the resolution of one against the other.
    reader_head, reader_body = (None, None) if writer is reader else _cut(reader)
    return _Version(writer_head=head, writer_body=body, reader_head=reader_head, reader_body=reader_body)


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


def _read(source: BytesIO, writer: Any, reader: Any) -> Mapping[str, Any]:
    try:
        found = cast(Mapping[str, Any], schemaless_reader(source, writer, reader))
    # Hostile bytes make fastavro raise whatever its parts raise: EOFError, IndexError, UnicodeDecodeError, MemoryError…
    except Exception as error:
        raise UndecodableEvent(f"the record is broken: {type(error).__name__}: {error}") from error
    return found


def _why_unknown(value: bytes) -> str:
    if value[:2] != _MARKER:
        return f"the record does not start as an event does (first bytes: {value[:4].hex() or 'none'})"
    return f"the record's schema {value[2:_HEADER_BYTES].hex()} is unknown here; it may be a newer Forebay's"


def _sealed(sealed: Sealed) -> bytes:
    return text(sealed.key_id) + octets(sealed.nonce) + octets(sealed.ciphertext)


def _from_avro(head: Mapping[str, Any], body: Any) -> PortalEvent:
    sealed, occurred_at = head["sealed"], head["occurred_at"]
    return PortalEvent(
        id=head["id"],
        portal=head["portal"],
        member_id=head["member_id"],
        kind=head["kind"],
        name=head["name"],
        occurred_at=None if occurred_at is None else _EPOCH + occurred_at * _MS,
        received_at=_EPOCH + head["received_at"] * _US,
        subscription=Subscription(**head["subscription"]),
        source=head["source"],
        path=head["path"],
        query=head["query"],
        traceparent=head["traceparent"],
        sealed=sealed and Sealed(**sealed),
        body=body,
    )


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
