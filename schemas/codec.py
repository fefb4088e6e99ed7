"""Bytes ↔ `PortalEvent`: Avro, behind one of two prefixes.

Sources: Avro specification 1.12, "Single-object encoding": `C3 01`, the schema's CRC-64-AVRO fingerprint (little
endian), then the record; and Confluent's "Wire format": `00`, the id that a schema registry gave the schema (big
endian), then the record.
"""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache, partial

from .alike import Alike
from .binary import ABSENT, FALSE, PRESENT, TRUE, Names, array, long, octets, text, text_or_null, word
from .errors import UndecodableEvent, UnknownSchemaId
from .event import Body, PortalEvent, Sealed, partly_read
from .form import Pair
from .reading import EPOCH, MS, US, Reading
from .scan import head_of
from .versions import Version, fingerprint_of_text, known_versions

_MARKER = b"\xc3\x01"
_HEADER_BYTES = 10

_REGISTRY_MARKER = b"\x00"
_REGISTRY_HEADER_BYTES = 5

#: What is the same in many records is encoded once: kinds of calls, endpoints, the seconds that calls come from. There
#: are too many portals: to look one up in memory that is cold takes longer than to encode it.
_CALLS_REMEMBERED, _ENDPOINTS_REMEMBERED, _MOMENTS_REMEMBERED = 4096, 64, 64

#: An empty path and an empty query.
_NO_ADDRESS = text("") * 2

#: Registries count their schemas in 32 bits with a sign.
MAX_SCHEMA_ID = 2**31 - 1


class Codec:
    """Encodes with one schema, and decodes what was written with it or with an earlier one of its line.

    Thread-safe. `versions` goes from the oldest to the newest. A later version may add fields that have a default, and
    must leave the order of the head and the body as it is.
    """

    def __init__(self, versions: Mapping[bytes, Version]) -> None:
        self._versions = {_MARKER + fingerprint: version for fingerprint, version in versions.items()}
        self._prefix = next(reversed(self._versions))
        #: The same by what stands before a record that was written with a schema registry.
        self._registered: dict[bytes, Version] = {}

    def learn(self, schema_id: int, schema: str) -> bool:
        """Decode records with this id of a registry from now on, if its schema is one of ours; whether it is.

        What counts is how its records look: formatting, docs and the order of keys in the JSON don't matter.
        """
        version = self._versions.get(_MARKER + fingerprint_of_text(schema))
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
        return self.pack(
            event.id,
            event.portal,
            event.member_id,
            event.kind,
            event.name,
            None if event.occurred_at is None else (event.occurred_at - EPOCH) // MS,
            (event.received_at - EPOCH) // US,
            event.source,
            event.subscription.id,
            event.subscription.endpoint,
            event.subscription.verified,
            event.path,
            event.query,
            event.traceparent,
            event.sealed,
            packed_body(event._body),
        )

    def pack(
        self,
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
        body: bytes,
    ) -> bytes:
        """The same from an event's parts, in the schema's order, for whoever has no event. Times are since the epoch;
        the body is `packed`.
        """
        return b"".join(
            (
                self._prefix,
                text(id),
                text(portal),
                text_or_null(member_id),
                _call(kind, name),
                _moment(occurred_at_ms),
                long(received_at_us),
                word(source),
                text_or_null(subscription_id),
                _endpoint(endpoint, verified),
                text(path) + text(query) if path or query else _NO_ADDRESS,
                ABSENT if traceparent is None else PRESENT + text(traceparent),
                ABSENT if sealed is None else PRESENT + _sealed(sealed),
                body,
            )
        )

    def decode(self, value: bytes, alike: Alike | None = None) -> PortalEvent:
        """The event of a record's value. What a worker needs to find its handler is read at once, the rest when it is
        first touched. `alike` takes note of it, for records behind it that are like it.

        Raises `UndecodableEvent`, and nothing else; the first touch of what was not read yet may raise it too.
        """
        version, start = self._versions.get(value[:_HEADER_BYTES]), _HEADER_BYTES
        if version is None:
            version, start = self._written_with(value)
        head = head_of(value, start) if version.is_scanned else None
        if head is None:
            reading = Reading(start, version)
            return PortalEvent(**reading.head(value), body=partial(reading.body, value))
        reading = Reading(start, version, head[-1], None if alike is None else alike.seen)
        if alike is not None:
            alike.note(value, start, head, reading)
        return partly_read(reading, value, *head[:-1])

    def _written_with(self, value: bytes) -> tuple[Version, int]:
        """The version that wrote the value, and where the record starts in it."""
        version = self._versions.get(value[:_HEADER_BYTES])
        if version is not None:
            return version, _HEADER_BYTES
        version = self._registered.get(value[:_REGISTRY_HEADER_BYTES])
        if version is not None:
            return version, _REGISTRY_HEADER_BYTES
        raise _unknown(value)


def packed(names: Names, values: Sequence[str], as_sent: tuple[Pair, ...] | None = None) -> bytes:
    """A body as it stands in the record: the fields with these names, and what `Body` has as sent."""
    pairs = PRESENT + array(octets(path) + octets(value) for path, value in as_sent) if as_sent else ABSENT
    return pairs + names.texts(values)


def packed_body(body: Body) -> bytes:
    """The same of a body that is there."""
    return packed(Names(body.fields), tuple(body.fields.values()), body.as_sent)


def _registry_prefix(schema_id: int) -> bytes:
    return _REGISTRY_MARKER + schema_id.to_bytes(_REGISTRY_HEADER_BYTES - 1)


def _unknown(value: bytes) -> UndecodableEvent:
    if value[:2] == _MARKER:
        known = value[2:_HEADER_BYTES].hex()
        return UndecodableEvent(f"the record's schema {known} is unknown here; it may be a newer Forebay's")
    schema_id = int.from_bytes(value[1:_REGISTRY_HEADER_BYTES])
    if value[:1] == _REGISTRY_MARKER and len(value) > _REGISTRY_HEADER_BYTES and schema_id <= MAX_SCHEMA_ID:
        return UnknownSchemaId(schema_id)
    return UndecodableEvent(f"the record does not start as an event does (first bytes: {value[:4].hex() or 'none'})")


@lru_cache(_CALLS_REMEMBERED)
def _call(kind: str, name: str) -> bytes:
    return text(kind) + text(name)


@lru_cache(_ENDPOINTS_REMEMBERED)
def _endpoint(endpoint: str, verified: bool) -> bytes:
    return text(endpoint) + (TRUE if verified else FALSE)


@lru_cache(_MOMENTS_REMEMBERED)
def _moment(ms: int | None) -> bytes:
    return ABSENT if ms is None else PRESENT + long(ms)


def _sealed(sealed: Sealed) -> bytes:
    return text(sealed.key_id) + octets(sealed.nonce) + octets(sealed.ciphertext)


def new_codec() -> Codec:
    """A codec for every version of the record, for one who may teach it the ids of a schema registry."""
    return Codec(known_versions())


@cache
def codec() -> Codec:
    """The codec that is everybody's, and is taught nothing: it knows the single-object encoding alone."""
    return new_codec()
