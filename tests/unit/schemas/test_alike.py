"""A record that is like the one before is read as it would be by itself."""

from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from forebay.processors.testing import event
from forebay.schemas.alike import Alike
from forebay.schemas.codec import Codec, new_codec
from forebay.schemas.errors import UndecodableEvent
from forebay.schemas.event import PortalEvent
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
events = st.builds(
    replace,
    st.just(sent),
    # Texts of the same length are where one record could be taken for another.
    id=st.sampled_from((*IDS, "short", "é" * 18)),
    portal=st.sampled_from((*("a.bitrix24.ru",) * 3, "b.bitrix24.ru", "longer.bitrix24.ru")),
    member_id=st.sampled_from((*(None,) * 3, "m" * 32, "n" * 32)),
    name=st.sampled_from((*("ONCRMDEALADD",) * 3, "ONCRMLEADADD", "ONTASKADD")),
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


def shown(value: bytes, alike: Alike | None = None) -> list[object]:
    """What a worker and a handler would see of it, as far as it can be read."""
    seen: list[object] = []
    try:
        one = CODEC.decode(value, alike)
        seen += one.id, one.portal, one.kind, one.name
        seen.append(one.data)
        seen.append(one.fields)
        seen.append(one.member_id)
    except UndecodableEvent:
        seen.append(UndecodableEvent)
    return seen


@given(st.lists(records(), max_size=6))
@example([NUL, NUL[:NUL_ENDS]])
@example([WHOLE, NO_TEXT])
@settings(max_examples=500)
def test_each_of_several_is_read_as_by_itself(values: list[bytes]) -> None:
    alike = Alike()

    assert [shown(value, alike) for value in values] == [shown(value) for value in values]


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
