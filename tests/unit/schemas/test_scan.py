"""What is taken straight from a record's bytes is what fastavro would have found, or nothing."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forebay.processors.testing import event
from forebay.schemas import scan
from forebay.schemas.codec import codec
from forebay.schemas.envelope import Told
from forebay.schemas.errors import UndecodableEvent
from forebay.schemas.event import Body, PortalEvent, Sealed, Subscription
from forebay.schemas.tree import nest

START = 10

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=90)
paths = st.sampled_from(["event", " data[a]", "data", "data[b][]", "data[b][c]", "dat", "date", "x[data]", "ts", ""])


def an_event(**changes: Any) -> PortalEvent:
    sent = event("ONCRMDEALADD", data={"FIELDS": {"ID": 7}}, fields={"auth[domain]": "some.bitrix24.ru"})
    return replace(sent, **changes)


def told_of(one: PortalEvent) -> Told:
    return one.id, one.portal, one.kind, one.name


def scanned(one: PortalEvent, top: bytes = b"") -> dict[str, str] | None:
    return scan.fields_of(codec().encode(one), START, told_of(one), top)


def test_a_record_of_ours_is_of_the_schema_that_is_scanned() -> None:
    assert codec().encode(an_event())[2:START] == scan.FINGERPRINT


@given(st.dictionaries(paths | texts, texts, max_size=8), st.booleans(), st.none() | texts, texts, st.booleans())
@example({f"data[{number}]": "v" for number in range(100)}, False, None, "", True)
def test_the_fields_are_those_that_were_written(
    fields: dict[str, str], is_sealed: bool, trace: str | None, path: str, verified: bool
) -> None:
    sealed = Sealed(key_id="k", nonce=b"n" * 12, ciphertext=b"c" * 200) if is_sealed else None
    subscription = Subscription(id=trace, endpoint="/bitrix24", verified=verified)
    more = {"sealed": sealed, "traceparent": trace, "member_id": trace, "path": path, "query": path}
    one = an_event(body=lambda: Body(fields=fields), subscription=subscription, **more)

    assert scanned(one) == fields
    some = scanned(one, b"data")
    assert some is not None
    assert nest(tuple(some), tuple(some.values()), "data") == nest(tuple(fields), tuple(fields.values()), "data")


@pytest.mark.parametrize("place", range(4))
def test_nothing_is_taken_from_the_record_of_another_event(place: int) -> None:
    one = an_event()
    told = list(told_of(one))
    told[place] += "x"

    assert scan.fields_of(codec().encode(one), START, (told[0], told[1], told[2], told[3])) is None


def test_nothing_is_taken_where_the_map_does_not_tell_all() -> None:
    assert scanned(an_event(body=lambda: Body(fields={"a": "2"}, as_sent=((b"a", b"1"), (b"a", b"2"))))) is None


def test_a_text_of_many_kilobytes_is_left_to_fastavro() -> None:
    assert scanned(an_event(body=lambda: Body(fields={"a": "x" * 8191}))) == {"a": "x" * 8191}
    assert scanned(an_event(body=lambda: Body(fields={"a": "x" * 8192}))) is None


def test_nothing_is_taken_from_a_record_that_is_cut_off() -> None:
    value, told = codec().encode(an_event()), told_of(an_event())

    assert {scan.fields_of(value[:end], START, told) is None for end in range(len(value))} == {True}


@given(st.data())
@settings(max_examples=500)
def test_a_damaged_record_is_never_read_as_anything_else(data: st.DataObject) -> None:
    value, told = bytearray(codec().encode(an_event())), told_of(an_event())
    for _ in range(data.draw(st.integers(1, 3))):
        value[data.draw(st.integers(START, len(value) - 1))] = data.draw(st.integers(0, 255))

    found = scan.fields_of(bytes(value), START, told)

    try:
        whole = codec().decode(bytes(value)).fields
    except UndecodableEvent:
        # What stands in the head and was only skipped may be what fastavro complains of.
        return
    assert found in (None, whole)
