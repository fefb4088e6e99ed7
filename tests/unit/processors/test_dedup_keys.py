"""As what an event is remembered for its handler, and for how long."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from forebay import Handlers, PortalEvent
from forebay.processors.dedup.keys import Key, key_of
from forebay.processors.errors import BadReturn
from forebay.processors.testing import event

EVENT = replace(event("ONCRMDEALADD"), received_at=datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC))


def key(
    dedup: Any = "id", name: str = "deal_added", topic: str = "events", group: str = "forebay", **options: Any
) -> Key | None:
    handlers = Handlers()

    async def handle(event: PortalEvent) -> None: ...

    handle.__qualname__ = name
    handlers.on("*", dedup=dedup, **options)(handle)
    handler = handlers.find(EVENT.kind, EVENT.name)
    assert handler
    return key_of(handler, EVENT, topic, group)


def digest(made: Key | None) -> bytes:
    assert made
    return made.digest


def test_an_event_is_remembered_from_its_receipt_for_as_long_as_the_handler_says() -> None:
    usual, short = key(), key(dedup_s=60)

    assert usual and short
    assert usual.received_ms == short.received_ms == 1_767_323_045_678
    assert (usual.window_ms, short.window_ms) == (3_600_000, 60_000)


def test_an_id_is_the_same_for_every_handler_and_what_a_function_says_is_for_its_own() -> None:
    assert digest(key(name="one")) == digest(key(name="other"))
    assert digest(key(lambda event: "7", "one")) != digest(key(lambda event: "7", "other"))
    assert digest(key(lambda event: "7", "one")) != digest(key(lambda event: "8", "one"))
    assert digest(key(lambda event: "67", "deal_5")) != digest(key(lambda event: "7", "deal_56"))


@pytest.mark.parametrize("reader", [{"topic": "others"}, {"group": "others"}])
def test_what_another_group_has_handled_or_what_stands_in_another_topic_is_not_the_same(reader: dict[str, str]) -> None:
    ours, theirs = key(), key(**reader)

    assert ours and theirs
    assert ours.digest != theirs.digest
    assert ours.reader != theirs.reader


def test_what_a_function_has_no_key_for_is_handled_in_any_case() -> None:
    assert key(lambda event: None) is None


@pytest.mark.parametrize("said", ["", 7, b"7"])
def test_a_function_that_gives_no_text_is_told_so_and_no_two_events_are_the_same_by_it(said: object) -> None:
    with pytest.raises(BadReturn, match="must give a text, or None"):
        key(lambda event: said)
