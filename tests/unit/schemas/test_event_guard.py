"""An event is one whatever was read of it, and nobody changes it."""

from dataclasses import FrozenInstanceError

import pytest

from forebay.processors.testing import event
from forebay.schemas.codec import codec
from forebay.schemas.event import PortalEvent

MADE = event("ONCRMDEALADD", data={"FIELDS": {"ID": 7}}, portal="shop.bitrix24.ru")


@pytest.fixture(params=["made", "read"])
def given(request: pytest.FixtureRequest) -> PortalEvent:
    return MADE if request.param == "made" else codec().decode(codec().encode(MADE))


def test_it_can_t_be_changed(given: PortalEvent) -> None:
    for name in ("portal", "received_at", "anything"):
        with pytest.raises(FrozenInstanceError):
            setattr(given, name, "other")
        with pytest.raises(FrozenInstanceError):
            delattr(given, name)


def test_it_is_the_same_value(given: PortalEvent) -> None:
    assert type(given) is PortalEvent
    assert given == MADE
    assert hash(given) == hash(MADE)
    assert repr(given) == repr(MADE)


def test_it_has_nothing_else(given: PortalEvent) -> None:
    assert not hasattr(given, "body_of_another")
