"""A record that is like the one before is read as it would be by itself."""

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forebay.processors.testing import event
from forebay.schemas.alike import Alike
from forebay.schemas.codec import Codec, new_codec
from forebay.schemas.errors import UndecodableEvent
from forebay.schemas.event import Body, PortalEvent, Sealed, Subscription
from forebay.schemas.versions import schema_texts

IDS = tuple(f"0198a6a0-0000-7000-8000-{number:012}" for number in range(3))
REGISTERED = 7


def ours() -> Codec:
    codec = new_codec()
    codec.learn(REGISTERED, schema_texts()[-1])
    return codec


def registered() -> Codec:
    codec = new_codec()
    codec.write_with(REGISTERED)
    return codec


CODEC, WRITERS = ours(), (new_codec(), registered())

sent = event(
    "ONCRMDEALADD", data={"FIELDS": {"ID": 7}}, fields={"auth[domain]": "a.bitrix24.ru"}, portal="a.bitrix24.ru"
)
mostly = st.sampled_from((True, True, True, False))
#: The same paths with other values, as the events of a portal have them; some are of another kind, or come twice.
values = st.sampled_from(("", "7", "é", "data", " data[", "x" * 63, "x" * 64, "\x08data"))
pairs = st.sampled_from(
    (
        *(("event", "data[FIELDS][ID]", "data[FIELDS][TITLE]", "data[USER]", "ts", "auth[domain]"),) * 4,
        ("event", "data[FIELDS][ID]", "ts", "auth[domain]"),
        ("event", " data[FIELDS][ID]", "auth[data]"),
        ("event", "data[FIELDS][ID]", "date", "data[FIELDS][]", "data[FIELDS][]"),
        ("auth[domain]", "ts"),
        ("data[A]", "data[A]"),
    )
).flatmap(lambda paths: st.tuples(*(st.tuples(st.just(path.encode()), values.map(str.encode)) for path in paths)))
bodies = pairs.map(lambda sent: lambda: Body.of(sent))
events = st.builds(
    replace,
    st.just(sent),
    # Texts of the same length are where one record could be taken for another.
    id=st.sampled_from((*IDS, "short", "é" * 18)),
    portal=st.sampled_from((*("a.bitrix24.ru",) * 3, "b.bitrix24.ru", "longer.bitrix24.ru")),
    member_id=st.sampled_from((*(None,) * 3, "m" * 32, "n" * 32)),
    name=st.sampled_from((*("ONCRMDEALADD",) * 3, "ONCRMLEADADD", "ONTASKADD")),
    # What most records of a portal share, and what none does.
    subscription=st.builds(
        Subscription, id=st.sampled_from((*("185",) * 3, None, "18")), endpoint=st.just("/bitrix24"), verified=mostly
    ),
    traceparent=st.none() | st.sampled_from(IDS),
    sealed=st.none() | st.builds(Sealed, key_id=st.just("k"), nonce=st.binary(max_size=3), ciphertext=st.just(b"c")),
    body=bodies,
)


#: A name that ends as a record does, and where.
NUL = WRITERS[0].encode(replace(sent, name="ON\0"))
NUL_ENDS = NUL.index(b"ON\0") + 3

#: One with an id that is no text.
WHOLE = WRITERS[0].encode(replace(sent, id=IDS[0]))
NO_TEXT = WHOLE.replace(IDS[0].encode(), b"\xff" * len(IDS[0]))


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """The value of a record, of which something may be damaged or cut off."""
    value = bytearray(draw(st.sampled_from(WRITERS)).encode(draw(events)))
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
        value[draw(st.integers(0, 12) | st.integers(0, len(value) - 1))] = draw(
            st.sampled_from((0, 1, 0x48, 0x80, 0xFF))
        )
    return bytes(value[: draw(st.none() | st.integers(-70, -1))])


#: What handlers look at.
looks = st.lists(st.sampled_from(("data", "data", "auth", "fields", "pairs", "member_id", "subscription", "sealed")))


def shown(value: bytes, looks: list[str], alike: Alike | None = None) -> list[object]:
    """What a worker and a handler would see of it, as far as it can be read."""
    seen: list[object] = []
    try:
        one = (alike and alike.event(value)) or CODEC.decode(value, alike)
        seen += one.id, one.portal, one.kind, one.name
        for look in looks:
            seen.append(getattr(one, look))
    except UndecodableEvent:
        seen.append(UndecodableEvent)
    return seen


@given(st.lists(st.tuples(records(), looks), max_size=6))
@example([(NUL, []), (NUL[:NUL_ENDS], [])])
@example([(WHOLE, []), (NO_TEXT, [])])
@settings(max_examples=500)
def test_each_of_several_is_read_as_by_itself(values: list[tuple[bytes, list[str]]]) -> None:
    alike = Alike()

    assert [shown(*one, alike) for one in values] == [shown(*one) for one in values]


def test_what_differs_in_its_id_alone_is_taken_from_the_one_before() -> None:
    alike = Alike()
    for codec in WRITERS:
        CODEC.decode(codec.encode(replace(sent, id=IDS[0])), alike)

        found = alike.event(codec.encode(replace(sent, id=IDS[1])))

        assert isinstance(found, PortalEvent)
        assert (found.id, found.portal, found.data) == (IDS[1], sent.portal, sent.data)


def test_another_name_is_not() -> None:
    alike = Alike()
    CODEC.decode(WRITERS[0].encode(replace(sent, id=IDS[0])), alike)

    assert alike.event(WRITERS[0].encode(replace(sent, id=IDS[1], name="ONCRMLEADADD"))) is None


def test_a_record_that_is_cut_off_in_a_text_where_it_may_end_gives_no_part_of_it() -> None:
    alike = Alike()
    whole = CODEC.encode(event("ONCRMDEALADD", data={"TITLE": "a\0bc"}, id=IDS[0]))
    assert CODEC.decode(whole, alike).data == {"TITLE": "a\0bc"}

    found = alike.event(whole[: whole.index(b"a\0") + 2])

    assert found
    with pytest.raises(UndecodableEvent):
        assert found.data
