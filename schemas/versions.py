"""The versions of the record's schema: each whole and cut in two, and the fingerprint by which records name it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from fastavro import parse_schema
from fastavro.schema import fingerprint, to_parsing_canonical_form

from .scan import FINGERPRINT

#: The first field that is not of the head; from here on a record is decoded only when somebody looks.
_BODY_STARTS_AT = "as_sent"

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A schema that records were written with, whole and cut in two, and what this version reads them as."""

    fingerprint: bytes
    writer: Any
    writer_head: Any
    writer_body: Any
    reader: Any
    reader_head: Any
    reader_body: Any
    #: Its records are those that `scan` is written for.
    is_scanned: bool


def version_of(writer: Schema, reader: Schema) -> Version:
    """What is needed to read records of the one schema as the other."""
    head, body = _cut(writer)
    # Without a reader schema fastavro skips the resolution of one against the other.
    reader_head, reader_body = (None, None) if writer is reader else _cut(reader)
    return Version(
        fingerprint=fingerprint_of(writer),
        writer=parse_schema(_plain(writer)),
        writer_head=head,
        writer_body=body,
        reader=None if writer is reader else parse_schema(_plain(reader)),
        reader_head=reader_head,
        reader_body=reader_body,
        is_scanned=fingerprint_of(writer) == FINGERPRINT,
    )


def versions_of(schemas: Sequence[Schema]) -> dict[bytes, Version]:
    """Fingerprint → what is needed to read its records as those of the newest schema, which is the last."""
    versions = [version_of(schema, schemas[-1]) for schema in schemas]
    return {one.fingerprint: one for one in versions}


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


def fingerprint_of(schema: Schema) -> bytes:
    """The CRC-64-AVRO of the parsing canonical form, as it stands in records."""
    # fastavro prints the fingerprint's bytes in the order in which the encoding wants them.
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def fingerprint_of_text(text: str) -> bytes:
    """The fingerprint of a schema in JSON; no bytes when it is none of Avro's."""
    try:
        return fingerprint_of(json.loads(text))
    # A registry keeps what others wrote, and fastavro raises whatever its parts raise: KeyError, RecursionError…
    except Exception:
        return b""


@cache
def schema_texts() -> tuple[str, ...]:
    """The schema of every version of the record that this Forebay knows, as in its file, the oldest first."""
    folder = files("forebay.schemas") / "avro"
    found = sorted((file for file in folder.iterdir() if file.name.endswith(".avsc")), key=_number)
    return tuple(file.read_text("utf-8").strip() for file in found)


@cache
def known_versions() -> Mapping[bytes, Version]:
    """The same of every schema that this Forebay knows."""
    return versions_of([json.loads(text) for text in schema_texts()])


def _number(file: Any) -> int:
    """2 for portal_event.v2.avsc."""
    return int(file.name.split(".")[1].removeprefix("v"))
