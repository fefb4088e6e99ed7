"""The typed view of the common events, on bodies as portals send them."""

from pathlib import Path
from typing import Any

import pytest

from forebay.events import BotMessage, Call, Change, Contact, Deal, Lead, Task
from forebay.processors.testing import event, event_of
from forebay.schemas.bitrix24.codes import known_code, known_codes, nearest_code
from forebay.schemas.errors import UndecodableEvent
from forebay.schemas.event import PortalEvent

BODIES = Path(__file__).parents[2] / "data" / "bitrix24"


def sent(number: int) -> PortalEvent:
    (path,) = BODIES.glob(f"{number:02}_*.txt")
    return event_of(path.read_bytes())


@pytest.mark.parametrize(
    ("number", "family", "id", "change"),
    [
        (1, Contact, 134806, Change.ADDED),
        (2, Deal, 7405, Change.ADDED),
        (4, Deal, 7405, Change.UPDATED),
        (38, Lead, 365, Change.ADDED),
        (14, Task, 123, Change.ADDED),
        (15, Task, 123, Change.UPDATED),
        (16, Task, 123, Change.DELETED),
    ],
)
def test_an_object_has_its_id_and_what_became_of_it(number: int, family: Any, id: int, change: Change) -> None:
    found = family.of(sent(number))

    assert (found.id, found.change) == (id, change)
    assert found.event.data


def test_a_message_to_a_bot_looks_the_same_in_both_versions() -> None:
    first, second = BotMessage.of(sent(25)), BotMessage.of(sent(28))

    assert (first.id, first.bot_id, first.dialog_id, first.author_id) == (84331, 567, "27", 27)
    assert first.text == "Привет"
    assert (second.id, second.bot_id, second.dialog_id, second.author_id) == (789, 456, "chat5", 1)
    assert second.text == "Hello bot!"


def test_a_call_says_what_its_event_tells() -> None:
    ended, asked = Call.of(sent(23)), Call.of(sent(24))

    assert ended.id == "externalCall.7b0c7de811455ef32b18dc5917e4306a.1773239327"
    assert (ended.phone, ended.user_id, ended.duration_s, ended.failed_code) == ("+79061234567", 1269, 0, "304")
    assert ended.crm_activity_id == 7953
    assert (asked.user_id, asked.duration_s, asked.failed_code, asked.crm_activity_id) == (1269, None, None, None)


def test_an_event_of_another_family_or_without_an_id_is_undecodable() -> None:
    with pytest.raises(UndecodableEvent, match="ONCRMLEADADD is none of ONCRMDEALADD"):
        Deal.of(event("ONCRMLEADADD", data={"FIELDS": {"ID": 7}}))
    with pytest.raises(UndecodableEvent, match=r"no number at data\[FIELDS\]\[ID\]"):
        Deal.of(event("ONCRMDEALADD", data={"FIELDS": {"ID": "seven"}}))
    with pytest.raises(UndecodableEvent, match=r"nothing at data\[CALL_ID\]"):
        Call.of(event("ONVOXIMPLANTCALLEND", data="107"))


def test_a_number_has_no_more_digits_than_an_id_of_64_bits() -> None:
    largest = str(2**63 - 1)

    assert Deal.of(event("ONCRMDEALADD", data={"FIELDS": {"ID": largest}})).id == 2**63 - 1
    for digits in (20, 5_000):
        with pytest.raises(UndecodableEvent, match=r"no number at data\[FIELDS\]\[ID\]"):
            Deal.of(event("ONCRMDEALADD", data={"FIELDS": {"ID": "9" * digits}}))
        call = Call.of(event("ONVOXIMPLANTCALLEND", data={"CALL_ID": "a", "CALL_DURATION": "9" * digits}))
        assert call.duration_s is None


def test_every_name_of_a_family_is_documented() -> None:
    families: list[Any] = [Deal, Lead, Contact, Task, BotMessage, Call]

    names = [name for family in families for name in family.names]

    assert set(names) <= set(known_codes())
    assert len(set(names)) == len(names)


def test_codes_are_found_also_of_one_smart_process_and_the_nearest_is_named() -> None:
    assert (found := known_code("ONCRMDEALADD")) and found.id_path == "data[FIELDS][ID]"
    assert (found := known_code("ONCRMDYNAMICITEMADD_147")) and found.name == "ONCRMDYNAMICITEMADD"
    assert known_code("ONCRMDEALADD_147") is None
    assert known_code("ONFOREBAYGAP")
    assert nearest_code("ONCRMDEALADDED") == "ONCRMDEALADD"
    assert nearest_code("SOMETHINGELSE") is None
    assert len(known_codes()) == 214


def test_a_body_becomes_the_event_that_a_handler_gets_without_its_secrets() -> None:
    made = sent(4)

    assert made.portal == made.auth["domain"]
    assert made.member_id == made.auth["member_id"]
    assert made.occurred_at is not None
    assert not {"access_token", "refresh_token", "application_token"} & set(made.auth)
