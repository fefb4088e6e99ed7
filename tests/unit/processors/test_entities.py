"""What an event is about: the same object has the same key under every code of its family, another never has."""

from collections.abc import Mapping

import pytest

from forebay.processors.entities import Role, subject
from forebay.processors.testing import event


def about(name: str, body: Mapping[str, object]) -> str | None:
    found = subject(event(name, data=body))  # type: ignore[arg-type]
    return found.key if found else None


def test_all_codes_of_a_family_name_an_object_alike() -> None:
    deal = {"FIELDS": {"ID": "7"}}

    keys = {about(f"ONCRMDEAL{what}", deal) for what in ("ADD", "UPDATE", "DELETE", "MOVETOCATEGORY")}

    assert len(keys) == 1
    assert keys != {None}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ONCRMDEALUPDATE", {"FIELDS": {"ID": "7"}}), ("ONCRMDEALUPDATE", {"FIELDS": {"ID": "8"}})),
        (("ONCRMDEALUPDATE", {"FIELDS": {"ID": "7"}}), ("ONCRMLEADUPDATE", {"FIELDS": {"ID": "7"}})),
        (("ONCRMDEALUPDATE", {"FIELDS": {"ID": "7"}}), ("ONCRMDEALUSERFIELDUPDATE", {"FIELDS": {"ID": "7"}})),
        (
            ("ONCRMDYNAMICITEMUPDATE", {"FIELDS": {"ID": "7", "ENTITY_TYPE_ID": "147"}}),
            ("ONCRMDYNAMICITEMUPDATE", {"FIELDS": {"ID": "7", "ENTITY_TYPE_ID": "148"}}),
        ),
        (
            ("ONTASKCOMMENTUPDATE", {"FIELDS_AFTER": {"ID": "1", "TASK_ID": "7"}}),
            ("ONTASKCOMMENTUPDATE", {"FIELDS_AFTER": {"ID": "2", "TASK_ID": "7"}}),
        ),
        (
            ("ONTASKCOMMENTUPDATE", {"FIELDS_AFTER": {"ID": "0", "MESSAGE_ID": "1", "TASK_ID": "7"}}),
            ("ONTASKCOMMENTUPDATE", {"FIELDS_AFTER": {"ID": "0", "MESSAGE_ID": "2", "TASK_ID": "7"}}),
        ),
    ],
)
def test_different_objects_have_different_keys(
    one: tuple[str, Mapping[str, object]], other: tuple[str, dict[str, object]]
) -> None:
    assert None not in (about(*one), about(*other))
    assert about(*one) != about(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ONTASKUPDATE", {"FIELDS_AFTER": {"ID": "7"}}), ("ONTASKDELETE", {"FIELDS_BEFORE": {"ID": "7"}})),
        (
            ("ONCRMDYNAMICITEMUPDATE", {"FIELDS": {"ID": "7", "ENTITY_TYPE_ID": "147"}}),
            ("ONCRMDYNAMICITEMDELETE_147", {"FIELDS": {"ID": "7", "ENTITY_TYPE_ID": "147"}}),
        ),
        (("ONCALENDARENTRYUPDATE", {"id": "7"}), ("ONCALENDARENTRYDELETE", {"id": "7"})),
        (("CATALOG.PRICE.ON.UPDATE", {"FIELDS": {"ID": "7"}}), ("CATALOG.PRICE.ON.DELETE", {"FIELDS": {"ID": "7"}})),
    ],
)
def test_the_same_object_is_the_same_wherever_its_id_stands(
    one: tuple[str, Mapping[str, object]], other: tuple[str, dict[str, object]]
) -> None:
    assert about(*one) == about(*other) is not None


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("ONCRMDEALUPDATE", {}),
        ("ONCRMDEALUPDATE", {"FIELDS": {"ID": ""}}),
        ("ONCRMDEALUPDATE", {"FIELDS": {"ID": {"a": "list"}}}),
        ("ONTASKUPDATE", {"FIELDS_AFTER": "undefined"}),
        ("ONMYMODULETHINGUPDATE", {"FIELDS": {"ID": "7"}}),
        ("ONIMCONNECTORMESSAGEUPDATE", {"MESSAGES": [{"im": {"message_id": "7"}}]}),
        ("ONAPPTEST", {"QUERY": "x"}),
        ("ONVOXIMPLANTCALLEND", {"CALL_ID": "7"}),
    ],
)
def test_what_names_no_single_object_or_is_not_documented_is_about_none(name: str, body: Mapping[str, object]) -> None:
    assert about(name, body) is None


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("ONCRMDEALADD", Role.ADDED),
        ("ONCRMDEALUPDATE", Role.CHANGED),
        ("ONCRMDEALMOVETOCATEGORY", Role.CHANGED),
        ("ONCRMDEALDELETE", Role.DELETED),
        ("ONORDERENTITYSAVED", Role.CHANGED),
        ("ONORDERDELETED", Role.DELETED),
        ("ONCRMDYNAMICITEMADD_147", Role.ADDED),
    ],
)
def test_a_code_says_whether_its_object_is_new_changed_or_gone(name: str, role: Role) -> None:
    found = subject(event(name, data={"FIELDS": {"ID": "7"}}))

    assert found
    assert found.role is role
