"""What a record is, and whose."""

from forebay import Handlers, PortalEvent
from forebay.processors.reading import Reading
from forebay.processors.testing import event
from forebay.queues.contract import PlacedRecord
from forebay.schemas import names
from forebay.schemas.codec import codec


def test_the_value_says_what_event_a_record_is_whatever_its_headers_tell() -> None:
    handlers, sent = Handlers(), event("ONCRMDEALADD", portal="a.bitrix24.ru")
    handlers.on("ONCRMDEALADD")(print)
    type_ = b"com.bitrix24.event.ONTASKADD"
    record = PlacedRecord(
        key=sent.portal,
        value=codec().encode(sent),
        timestamp_ms=0,
        headers=((names.CE_ID, b"1"), (names.CE_SOURCE, b"//b.bitrix24.ru"), (names.CE_TYPE, type_)),
        stream="events",
        partition=0,
        offset=0,
    )

    found, handler = Reading(handlers, codec(), None).read(record)

    assert isinstance(found, PortalEvent)
    assert (found.id, found.portal, found.name) == (sent.id, "a.bitrix24.ru", "ONCRMDEALADD")
    assert handler is not None and handler.pattern == "ONCRMDEALADD"
    assert found.data == sent.data
