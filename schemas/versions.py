"""The versions of the record's schema: each whole and its head alone, and the fingerprint by which records name it."""

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
    """A schema that records were written with, whole and its head alone, and what this version reads them as."""

    fingerprint: bytes
    writer: Any
    writer_head: Any
    reader: Any
    reader_head: Any
    #: Its records are those that `scan` is written for.
    is_scanned: bool


def version_of(writer: Schema, reader: Schema) -> Version:
    """What is needed to read records of the one schema as the other."""
    # Without a reader schema fastavro skips the resolution of one against the other.
    return Version(
        fingerprint=fingerprint_of(writer),
        writer=parse_schema(_plain(writer)),
        writer_head=_head(writer),
        reader=None if writer is reader else parse_schema(_plain(reader)),
        reader_head=None if writer is reader else _head(reader),
        is_scanned=fingerprint_of(writer) == FINGERPRINT,
    )


def versions_of(schemas: Sequence[Schema]) -> dict[bytes, Version]:
    """Fingerprint → what is needed to read its records as those of the newest schema, which is the last."""
    versions = [version_of(schema, schemas[-1]) for schema in schemas]
    return {one.fingerprint: one for one in versions}


def _head(schema: Schema) -> Any:
    """The schema's head, as a record of its own."""
    names = [field["name"] for field in schema["fields"]]
    return parse_schema(_plain({**schema, "fields": schema["fields"][: names.index(_BODY_STARTS_AT)]}))


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
