"""What `forebay handlers` shows, and warns of."""

from functools import partial
from pathlib import Path

from forebay import Handlers, PortalEvent
from forebay.console.registered_handlers import full_rows, short_rows, warnings
from forebay.processors.budgets import Budget
from forebay.processors.forward import Forward


async def deal(event: PortalEvent) -> None: ...


async def rest(event: PortalEvent) -> None: ...


def by_deal(event: PortalEvent) -> str: ...  # type: ignore[empty-body]


def test_a_row_has_every_option_and_for_people_those_that_were_given() -> None:
    handlers = Handlers()
    handlers.on("ONCRMDEALADD", group="audit", rate=Budget("rest", "2/s", burst=9), dedup=by_deal, dedup_s=60)(deal)

    (full,), (short,) = full_rows(handlers), short_rows(handlers)

    assert (full["pattern"], full["kind"], full["group"]) == ("ONCRMDEALADD", "event", "audit")
    assert (full["rate"], full["dedup"], full["tries"], full["cpu"]) == ("2/s of rest, burst 9", "by_deal", None, False)
    assert str(full["place"]).endswith("test_registered_handlers.py:12")
    assert short["options"] == "rate=2/s of rest, burst 9 dedup=by_deal dedup_s=60"


def test_the_place_of_an_object_is_where_its_class_says_what_a_call_does() -> None:
    handlers = Handlers()
    handlers.on("*")(Forward("https://example.com/handler.php"))

    (row,) = full_rows(handlers)

    file, _, line = str(row["place"]).rpartition(":")
    assert file.endswith("forward.py")
    assert "async def __call__" in Path(file).read_text().splitlines()[int(line) - 1]


def test_the_name_and_place_of_a_partial_are_those_of_its_function() -> None:
    handlers = Handlers()
    handlers.on("*")(partial(partial(of_shop, 1), shop=2))

    (row,) = full_rows(handlers)

    assert str(row["handler"]).endswith("test_registered_handlers:of_shop")
    file, _, line = str(row["place"]).rpartition(":")
    assert "def of_shop" in Path(file).read_text().splitlines()[int(line) - 1]


def of_shop(number: int, event: PortalEvent, shop: int) -> None:
    """A handler once the rest is given."""


def test_a_code_that_is_not_documented_is_warned_of_with_the_nearest() -> None:
    handlers = Handlers()
    handlers.on("ONCRMDEALADDED", "ONCRMDEALADD", "ONCRMDYNAMICITEMADD_147", "ONCRMDEL*", "ONCRM*", "VERYOWN", "*")(
        deal
    )
    handlers.on("whatever_robot", kind="robot")(deal)

    found = list(warnings(handlers))

    assert len(found) == 3
    assert found[0].startswith("ONCRMDEALADDED: Bitrix24 documents no such event; did you mean ONCRMDEALADD?")
    assert found[1].startswith("ONCRMDEL*: no event that Bitrix24 documents begins so")
    assert found[2].startswith("VERYOWN: Bitrix24 documents no such event, which your portal may still have")


def test_two_handlers_that_one_event_fits_are_warned_of_unless_each_has_its_group() -> None:
    handlers = Handlers()
    handlers.on("ONCRMDEALADD", "ONCRMDEAL*")(deal)
    handlers.on("ONCRM*")(rest)
    handlers.on("*", group="audit")(rest)

    (warning,) = warnings(handlers)

    assert "ONCRM*: tests.unit.console.test_registered_handlers:rest doesn't get ONCRMDEALADD, ONCRMDEAL*" in warning
    assert "give one a group" in warning
