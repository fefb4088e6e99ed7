"""What becomes of records whose head can be read, and which turn out to be broken when somebody looks further."""

from typing import Any

import pytest

from forebay import PortalEvent
from forebay.processors.dedup.marks import MarksInMemory
from forebay.processors.testing import event
from forebay.schemas import names
from forebay.schemas.codec import codec
from tests.parking.shop import Shop, id_of


def broken() -> bytes:
    """The times, which stand behind the event's name, are all that there is; and the end of a map."""
    value = codec().encode(event("ONTASKADD", data={"FIELDS": {"ID": 7}}))
    at = value.index(b"ONTASKADD") + len("ONTASKADD")
    return value[:at] + b"\x00" + b"\xff" * 40 + b"\x00"


def by_data(event: PortalEvent) -> str:
    return str(id_of(event))


@pytest.mark.parametrize("dedup", ["id", by_data])
def test_a_record_that_is_broken_where_its_mark_is_looked_up_is_a_dead_letter_at_once(shop: Shop, dedup: Any) -> None:
    shop.world.marks = MarksInMemory()

    @shop.on("ONTASK*", dedup=dedup)
    async def handler(event: PortalEvent) -> None:
        """Handled."""

    shop.put(broken())
    shop.send("ONTASKADD", 1)

    shop.start()
    shop.let(0.5)

    assert shop.calls == [[1]]
    [letter] = shop.dead()
    assert dict(letter.headers)[names.DEAD_ATTEMPTS] == b"1"
