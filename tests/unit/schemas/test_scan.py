"""What is taken straight from a record's bytes is what fastavro would have found, or nothing."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forebay.processors.testing import event
from forebay.schemas import scan
from forebay.schemas.binary import Names
from forebay.schemas.codec import codec
from forebay.schemas.errors import UndecodableEvent
from forebay.schemas.event import KINDS, Body, PortalEvent, Sealed, Subscription
from forebay.schemas.reading import Reading
from forebay.schemas.tree import nest
from forebay.schemas.versions import schema_texts, version_of

START = 10
SCHEMA = json.loads(schema_texts()[-1])
VERSION = version_of(SCHEMA, SCHEMA)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=90)
paths = st.sampled_from(["event", " data[a]", "data", "data[b][]", "data[b][c]", "dat", "date", "x[data]", "ts", ""])


def an_event(**changes: Any) -> PortalEvent:
    sent = event("ONCRMDEALADD", data={"FIELDS": {"ID": 7}}, fields={"auth[domain]": "some.bitrix24.ru"})
    return replace(sent, **changes)


def scanned(one: PortalEvent) -> dict[str, str] | None:
    return fields_of(codec().encode(one))


def fields_of(value: bytes) -> dict[str, str] | None:
    head = scan.head_of(value, START)
    return head and scan.fields_of(value, head[-1])


def test_a_record_of_ours_is_of_the_schema_that_is_scanned() -> None:
    assert codec().encode(an_event())[2:START] == scan.FINGERPRINT


@given(st.dictionaries(paths | texts, texts, max_size=8), st.booleans(), st.none() | texts, texts, st.booleans())
@example({f"data[{number}]": "v" for number in range(100)}, False, None, "", True)
def test_the_fields_are_those_that_were_written(
    fields: dict[str, str], is_sealed: bool, trace: str | None, path: str, verified: bool
) -> None:
    sealed = Sealed(key_id="k", nonce=b"n" * 12, ciphertext=b"c" * 200) if is_sealed else None
    subscription = Subscription(id=trace, endpoint="/bitrix24", verified=verified)
    more = {"sealed": sealed, "traceparent": trace, "path": path, "query": path}
    one = an_event(body=lambda: Body(fields=fields), subscription=subscription, **more)

    assert scanned(one) == fields
    value = codec().encode(one)
    some = scan.fields_under(value, rest_of(value), b"data")
    assert some
    assert nest(*some, "data") == nest(tuple(fields), tuple(fields.values()), "data")


@given(texts, texts, st.none() | texts, st.sampled_from(KINDS) | texts, texts)
@example("0198a6a0-0000-7000-8000-000000000000", "some.bitrix24.ru", "m" * 32, "event", "n" * 63)
@example("i" * 64, "p", "m", "event", "n")
@example("i", "p" * 64, "m", "event", "n")
@example("i", "p", "m" * 64, "event", "n")
@example("i", "p", "m", "k" * 64, "n")
@example("i", "p", "m", "event", "n" * 64)
def test_the_head_is_what_was_written(event_id: str, portal: str, member_id: str | None, kind: str, name: str) -> None:
    one = an_event(id=event_id, portal=portal, member_id=member_id, kind=kind, name=name)

    found = scan.head_of(codec().encode(one), START)

    is_short = all(len(text.encode()) < 64 for text in (event_id, portal, member_id or "", kind, name))
    assert (found and found[:4]) == ((event_id, portal, kind, name) if is_short else None)


@pytest.mark.parametrize("text", ["0198a6a0-0000-7000-8000-000000000000", "some.bitrix24.ru", "m" * 32, "event", "ON"])
def test_a_length_below_zero_is_left_to_fastavro(text: str) -> None:
    one = an_event(id="0198a6a0-0000-7000-8000-000000000000", portal="some.bitrix24.ru", member_id="m" * 32, name="ON")
    encoded = bytes((len(text) << 1,)) + text.encode()
    below_zero = bytes((encoded[0] | 1,)) + encoded[1:]

    value = codec().encode(one).replace(encoded, below_zero, 1)

    assert scan.head_of(value, START) is None


def test_a_length_of_two_bytes_below_zero_is_left_to_fastavro() -> None:
    value = codec().encode(an_event(body=lambda: Body(fields={"a": "x" * 100})))
    assert fields_of(value) == {"a": "x" * 100}

    assert fields_of(value.replace(b"\xc8\x01xx", b"\xc9\x01xx")) is None


def test_a_name_that_is_cut_off_where_a_record_may_end_is_none() -> None:
    value = codec().encode(an_event(name="ON\0\0"))

    assert scan.head_of(value, START) is not None
    assert {scan.head_of(value[:end], START) for end in range(value.index(b"ON\0\0") + 5)} == {None}


def test_nothing_is_taken_where_the_map_does_not_tell_all() -> None:
    assert scanned(an_event(body=lambda: Body(fields={"a": "2"}, as_sent=((b"a", b"1"), (b"a", b"2"))))) is None


def test_a_text_of_many_kilobytes_is_left_to_fastavro() -> None:
    assert scanned(an_event(body=lambda: Body(fields={"a": "x" * 8191}))) == {"a": "x" * 8191}
    assert scanned(an_event(body=lambda: Body(fields={"a": "x" * 8192}))) is None


def test_nothing_is_taken_from_a_record_that_is_cut_off() -> None:
    value = codec().encode(an_event())

    assert {fields_of(value[:end]) for end in range(len(value))} == {None}


def test_a_record_that_is_cut_off_gives_no_part_of_its_data() -> None:
    sent = {"FIELDS": {"ID": "7", "TITLE": "a"}}
    value = codec().encode(event("ONCRMDEALUPDATE", data=sent, fields={"auth[domain]": "a.b", "ts": "1"}))

    assert [end for end in range(len(value)) if data_of(value[:end]) is not None] == []
    assert data_of(value) == sent


def test_a_layout_that_was_seen_is_taken_for_other_values() -> None:
    seen = scan.Seen()
    (first, _), (second, values) = (
        under_data(event("ONCRMDEALUPDATE", data={"FIELDS": {"ID": number, "TITLE": title}}), seen)
        for number, title in ((7, "a"), (12, "b" * 100))
    )

    assert second is first
    assert list(values) == ["12", "b" * 100]


def test_what_differs_before_the_fields_is_read_anew() -> None:
    seen = scan.Seen()
    calls = [
        an_event(subscription=Subscription(id=id, endpoint="/bitrix24"), traceparent=trace)
        for id, trace in (("185", None), ("1850", None), (None, None), ("185", "t" * 55), ("185", None))
    ]

    assert [under_data(one, seen) for one in calls] == [under_data(one, scan.Seen()) for one in calls]


def test_of_a_record_with_long_paths_nothing_is_kept_in_memory() -> None:
    seen = scan.Seen()

    under_data(an_event(body=lambda: Body(fields={f"data[{'x' * 5000}]": "7"}), path="/" + "x" * 5000), seen)

    assert not seen.layouts
    assert not seen.between


def test_a_path_that_stands_twice_in_a_map_makes_no_layout() -> None:
    one = an_event(body=lambda: Body(fields={"data[A]": "7"}))
    twice = Names(["data[A]", "data[A]"]).texts(["1", "2"])
    value = codec().encode(one).replace(Names(["data[A]"]).texts(["7"]), twice)
    seen = scan.Seen()

    assert [scan.fields_under(value, rest_of(value), b"data", seen) for _ in range(2)] == [(("data[A]",), ("2",))] * 2


def under_data(one: PortalEvent, seen: scan.Seen) -> tuple[tuple[str, ...], Sequence[str]]:
    found = scan.fields_under(value := codec().encode(one), rest_of(value), b"data", seen)
    assert found
    paths, values = found
    return paths, list(values)


def rest_of(value: bytes) -> int:
    head = scan.head_of(value, START)
    assert head
    return head[-1]


def data_of(value: bytes) -> object:
    try:
        return codec().decode(value).data
    except UndecodableEvent:
        return None


@given(st.data())
@settings(max_examples=500)
def test_a_damaged_record_is_never_read_as_anything_else(data: st.DataObject) -> None:
    value = bytearray(codec().encode(an_event()))
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(START, len(value) - 1))] = data.draw(st.integers(0, 255))

    head, fields = scan.head_of(bytes(value), START), fields_of(bytes(value))

    try:
        whole = by_fastavro(bytes(value))
        # What stands in the head and was only skipped may be what fastavro complains of.
        assert head is None or head[:4] == (whole.id, whole.portal, whole.kind, whole.name)
        assert fields in (None, whole.fields)
    except UndecodableEvent:
        return


def by_fastavro(value: bytes) -> PortalEvent:
    reading = Reading(START, VERSION)
    return PortalEvent(**reading.head(value), body=partial(reading.body, value))
