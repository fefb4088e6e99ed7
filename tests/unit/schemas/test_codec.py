"""The record: what goes in comes out, older records stay readable, anything else is `UndecodableEvent`."""

import io
import json
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import forebay.schemas
from forebay.schemas.codec import Codec, codec, new_codec
from forebay.schemas.errors import UndecodableEvent, UnknownSchemaId
from forebay.schemas.event import Body, PortalEvent, Sealed, Subscription
from forebay.schemas.versions import schema_texts, versions_of

TAUGHT = new_codec()
TAUGHT.learn(7, schema_texts()[-1])
V1 = json.loads((Path(forebay.schemas.__file__).parent / "avro" / "portal_event.v1.avsc").read_text("utf-8"))

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))
pairs = st.tuples(st.binary(max_size=20), st.binary(max_size=20))
bodies = st.builds(
    Body,
    fields=st.dictionaries(texts, texts, max_size=8),
    as_sent=st.none() | st.lists(pairs, min_size=1, max_size=8).map(tuple),
)


def _in_ms(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _body_of(body: Body) -> Callable[[], Body]:
    return lambda: body


events = st.builds(
    PortalEvent,
    id=st.uuids().map(str),
    portal=texts,
    member_id=st.none() | texts,
    kind=st.sampled_from(["event", "robot", "automation", "sms", "other"]),
    name=texts,
    occurred_at=st.none() | times.map(_in_ms),
    received_at=times,
    subscription=st.builds(Subscription, id=st.none() | texts, endpoint=texts, verified=st.booleans()),
    source=texts,
    path=texts,
    query=texts,
    traceparent=st.none() | texts,
    sealed=st.none() | st.builds(Sealed, key_id=texts, nonce=st.binary(max_size=12), ciphertext=st.binary(max_size=50)),
    body=bodies.map(_body_of),
)


def an_event(**changes: Any) -> PortalEvent:
    given: dict[str, Any] = {
        "id": "0192f0c4-1111-7222-8333-444455556666",
        "portal": "some-domain.bitrix24.ru",
        "member_id": None,
        "kind": "event",
        "name": "ONCRMDEALADD",
        "occurred_at": None,
        "received_at": datetime(2026, 11, 25, 12, 30, 0, 123456, UTC),
        "subscription": Subscription(id="185", endpoint="/bitrix24"),
        "body": lambda: Body(fields={"event": "ONCRMDEALADD", "data[FIELDS][ID]": "7"}),
    }
    return PortalEvent(**{**given, **changes})


@given(events)
def test_what_goes_in_comes_out(event: PortalEvent) -> None:
    back = codec().decode(codec().encode(event))

    assert back == event
    assert list(back.fields.items()) == list(event.fields.items())
    assert back.pairs == event.pairs
    assert codec().encode(back) == codec().encode(event)


def test_a_record_is_in_the_single_object_encoding() -> None:
    value = codec().encode(an_event())

    # Read by Avro's own rules, with nothing of ours.
    fingerprint = fastavro.schema.fingerprint(fastavro.schema.to_parsing_canonical_form(V1), "CRC-64-AVRO")
    assert value[:2] == b"\xc3\x01"
    assert value[2:10].hex() == fingerprint
    plain: Any = fastavro.schemaless_reader(io.BytesIO(value[10:]), fastavro.parse_schema(V1), None)
    assert str(plain["id"]) == an_event().id
    assert plain["received_at"] == an_event().received_at
    assert plain["fields"] == an_event().fields


def _by_the_schema(event: PortalEvent) -> dict[str, Any]:
    """The event as fastavro's writer wants it."""
    sealed, as_sent = event.sealed, event._body.as_sent
    return {
        **{
            name: getattr(event, name)
            for name in ("id", "portal", "member_id", "kind", "name", "occurred_at", "source")
        },
        **{name: getattr(event, name) for name in ("received_at", "path", "query", "traceparent", "fields")},
        "subscription": {name: getattr(event.subscription, name) for name in ("id", "endpoint", "verified")},
        "sealed": sealed and {name: getattr(sealed, name) for name in ("key_id", "nonce", "ciphertext")},
        "as_sent": as_sent and [{"path": path, "value": value} for path, value in as_sent],
    }


LONG = [
    an_event(path="x" * 70_000, query="ж" * 600),
    an_event(body=lambda: Body(fields={"short": "x", "long": "x" * 70_000})),
    an_event(body=lambda: Body(fields={"short": "x", "long": "ж" * 600})),
]


@given(events | st.sampled_from(LONG))
def test_the_bytes_are_those_of_avros_own_writer(event: PortalEvent) -> None:
    written = io.BytesIO()
    fastavro.schemaless_writer(written, fastavro.parse_schema(V1), _by_the_schema(event))

    assert codec().encode(event)[10:] == written.getvalue()


def test_records_of_an_earlier_version_stay_readable() -> None:
    v2 = deepcopy(V1)
    new_in_head = {"name": "tenant", "type": "string", "default": "none"}
    v2["fields"].insert(1, new_in_head)
    v2["fields"].append({"name": "size", "type": "int", "default": 0})
    both = Codec(versions_of([V1, v2]))

    back = both.decode(codec().encode(an_event()))

    assert back == an_event()
    assert back.data == {"FIELDS": {"ID": "7"}}


def test_a_newer_version_is_refused_by_name() -> None:
    v2 = deepcopy(V1)
    v2["fields"].append({"name": "size", "type": "int", "default": 0})
    old = bytearray(codec().encode(an_event()))
    from fastavro.schema import fingerprint, to_parsing_canonical_form

    old[2:10] = bytes.fromhex(fingerprint(to_parsing_canonical_form(v2), "CRC-64-AVRO"))

    with pytest.raises(UndecodableEvent, match="newer Forebay"):
        codec().decode(bytes(old))


def with_id(schema_id: int, event: PortalEvent) -> bytes:
    """The event in Confluent's wire format."""
    return b"\0" + schema_id.to_bytes(4, "big") + codec().encode(event)[10:]


def test_a_record_with_a_registry_s_id_is_read_once_the_id_is_learnt() -> None:
    taught, value = new_codec(), with_id(7, an_event())
    wanted = taught.unknown_id(value)
    with pytest.raises(UnknownSchemaId) as unknown:
        taught.decode(value)

    assert taught.learn(7, schema_texts()[-1])

    assert wanted == unknown.value.schema_id == 7
    assert taught.decode(value) == an_event()
    assert taught.decode(codec().encode(an_event())) == an_event()
    assert taught.unknown_id(value) is None


def test_what_one_codec_learns_no_other_knows() -> None:
    new_codec().learn(7, schema_texts()[-1])

    with pytest.raises(UnknownSchemaId):
        codec().decode(with_id(7, an_event()))


def test_our_schema_is_known_by_how_its_records_look() -> None:
    def rewritten(found: dict[str, Any]) -> dict[str, Any]:
        return {name: found[name] for name in reversed(found) if name not in ("doc", "logicalType", "default")}

    qualified = json.loads(schema_texts()[-1], object_hook=rewritten)
    qualified["name"] = f"{qualified.pop('namespace')}.{qualified['name']}"
    taught = new_codec()

    assert taught.learn(7, json.dumps(qualified))
    assert taught.decode(with_id(7, an_event())) == an_event()


@pytest.mark.parametrize(
    "schema",
    [
        '{"type": "record", "name": "PortalEvent", "namespace": "forebay", "fields": []}',
        '"string"',
        '{"type": "no such type"}',
        '{"$schema": "https://json-schema.org/draft/2020-12/schema"}',
        'syntax = "proto3"; message PortalEvent {}',
        "",
        "[" * 100_000,
        "null",
    ],
)
def test_the_schema_of_somebody_else_is_not_learnt(schema: str) -> None:
    taught = new_codec()

    assert not taught.learn(7, schema)
    assert taught.unknown_id(with_id(7, an_event())) == 7


def test_a_renamed_or_reordered_field_makes_it_another_schema() -> None:
    renamed, reordered = deepcopy(V1), deepcopy(V1)
    renamed["fields"][0]["name"] = "key"
    reordered["fields"].reverse()

    assert not any(new_codec().learn(7, json.dumps(other)) for other in (renamed, reordered))


def test_an_id_of_an_earlier_version_is_read_as_that_version() -> None:
    v2 = deepcopy(V1)
    v2["fields"].insert(1, {"name": "tenant", "type": "string", "default": "none"})
    both = Codec(versions_of([V1, v2]))

    both.learn(7, json.dumps(V1))

    assert both.decode(with_id(7, an_event())) == an_event()


def test_with_an_id_it_writes_confluent_s_wire_format() -> None:
    taught = new_codec()
    before = taught.encode(an_event())

    taught.write_with(258)

    assert taught.encode(an_event()) == b"\0\0\0\1\2" + before[10:]
    assert before[:2] == b"\xc3\x01"


@given(st.integers(0, 2**32 - 1), st.binary(max_size=50))
def test_an_id_that_is_not_known_is_told_from_what_can_be_none(schema_id: int, noise: bytes) -> None:
    value = b"\0" + schema_id.to_bytes(4, "big") + noise

    assert codec().unknown_id(value) == (schema_id if noise and schema_id < 2**31 else None)
    with pytest.raises(UndecodableEvent):
        codec().decode(value)


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=500)
def test_nothing_but_undecodable_event_comes_of_any_bytes(noise: bytes, with_prefix: bool) -> None:
    value = codec().encode(an_event())[:10] + noise if with_prefix else noise

    try:
        codec().decode(value).pairs  # noqa: B018 - looking at it decodes it
    except UndecodableEvent as refused:
        assert str(refused)


@given(st.data())
@settings(max_examples=500)
def test_nothing_but_undecodable_event_comes_of_a_damaged_record(data: st.DataObject) -> None:
    value = bytearray(data.draw(st.sampled_from([codec().encode(an_event()), with_id(7, an_event())])))
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(value[: data.draw(st.integers(0, len(value)))])

    try:
        event = TAUGHT.decode(damaged)
        assert event.pairs is not None
        assert isinstance(event.received_at + timedelta(0), datetime)
    except (UndecodableEvent, OverflowError) as refused:
        assert not isinstance(refused, OverflowError)


def test_every_field_of_the_record_is_documented() -> None:
    def records(schema: Any) -> list[Any]:
        if isinstance(schema, list):
            return [found for part in schema for found in records(part)]
        if not isinstance(schema, dict):
            return []
        below = [found for field in schema.get("fields", []) for found in records(field["type"])]
        own: list[Any] = schema.get("fields", [])
        return own + below + records(schema.get("items")) + records(schema.get("type"))

    undocumented = [field["name"] for field in records(V1) if not field.get("doc")]

    assert undocumented == []
