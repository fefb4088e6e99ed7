"""What a record is, and whose."""

from hypothesis import example, given
from hypothesis import strategies as st

from forebay import Handlers, PortalEvent
from forebay.processors.reading import Bulk, Reading
from forebay.processors.testing import event
from forebay.queues.contract import PlacedRecord
from forebay.schemas import names
from forebay.schemas.codec import codec

#: What is no event at all; and a name that is too long for a record to be read quickly.
BROKEN, LONG = "", "ONTASK" + "D" * 64


def _ignore(_: PortalEvent) -> None:
    """Another handler than the first."""


def record(value: bytes, headers: tuple[tuple[str, bytes], ...] = ()) -> PlacedRecord:
    return PlacedRecord(
        key="a.bitrix24.ru", value=value, timestamp_ms=0, headers=headers, stream="events", partition=0, offset=0
    )


def test_the_value_says_what_event_a_record_is_whatever_its_headers_tell() -> None:
    handlers, sent = Handlers(), event("ONCRMDEALADD", portal="a.bitrix24.ru")
    handlers.on("ONCRMDEALADD")(print)
    type_ = b"com.bitrix24.event.ONTASKADD"
    others = ((names.CE_ID, b"1"), (names.CE_SOURCE, b"//b.bitrix24.ru"), (names.CE_TYPE, type_))

    found, handler = Reading(handlers, codec(), None).read(record(codec().encode(sent), others))

    assert isinstance(found, PortalEvent)
    assert (found.id, found.portal, found.name) == (sent.id, "a.bitrix24.ru", "ONCRMDEALADD")
    assert handler is not None and handler.pattern == "ONCRMDEALADD"
    assert found.data == sent.data


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("ONCRMDEALADD", "ONCRMDEALADD", "ONTASKADD", "ONOTHER", LONG, BROKEN)),
            st.sampled_from(("a.bitrix24.ru", "a.bitrix24.ru", names.CANARY_DOMAIN)),
        ),
        max_size=6,
    )
)
@example([("ONCRMDEALADD", "a.bitrix24.ru"), (LONG, "a.bitrix24.ru"), ("ONCRMDEALADD", "a.bitrix24.ru")])
def test_each_of_those_that_come_in_bulk_has_the_handler_that_it_has_by_itself(sent: list[tuple[str, str]]) -> None:
    handlers = Handlers()
    handlers.on("ONCRMDEAL*")(print)
    handlers.on("ONTASK*")(_ignore)
    reading, bulk = Reading(handlers, codec(), None), Bulk()
    values = [codec().encode(event(name, portal=portal)) if name else b"" for name, portal in sent]

    for value in values:
        (found, handler), (alone, its) = reading.read(record(value), bulk), reading.read(record(value))
        assert handler is its
        assert type(found) is type(alone)
        assert not isinstance(found, PortalEvent) or found == alone
