"""Handlers of several groups: each group has its own handler of an event."""

from typing import Any

import pytest

from forebay import Handlers, PortalEvent
from forebay.processors.errors import BadHandler
from forebay.processors.health import Health, health_of


async def handle(event: PortalEvent) -> None: ...


async def audit(event: PortalEvent) -> None: ...


def registered(*groups: str | None, pattern: str = "ONCRMDEALADD") -> Handlers:
    handlers = Handlers()
    for group in groups:
        handlers.on(pattern, group=group)(audit if group else handle)
    return handlers


def test_an_event_has_a_handler_in_each_group() -> None:
    handlers = registered(None, "audit")
    handlers.on("*", group="audit")(handle)

    assert handlers.groups() == [None, "audit"]
    for group, function in ((None, handle), ("audit", audit)):
        found = handlers.of(group).find("event", "ONCRMDEALADD")
        assert found
        assert found.function is function
    assert handlers.of(None).find("event", "ONTASKADD") is None
    assert handlers.of("audit").find("event", "ONTASKADD")


def test_a_group_that_is_called_as_the_default_one_is_that_group_and_two_handlers_there_are_refused() -> None:
    assert len(registered("forebay").of(None, "forebay")) == 1
    with pytest.raises(BadHandler, match="ONCRMDEALADD has two handlers"):
        registered(None, "forebay").of(None, "forebay")


@pytest.mark.parametrize("group", ["", "a b", "x" * 201])
def test_a_group_has_a_name_that_every_queue_takes(group: Any) -> None:
    with pytest.raises(BadHandler, match="a group's name has up to 200"):
        Handlers().on("*", group=group)


def test_the_health_of_several_groups_is_that_of_the_worst() -> None:
    one, other = Health(), Health()
    both = health_of({"shop": one, "audit": other})
    one.ok("group")
    readiness = [both.is_ready]
    other.ok("group")
    readiness.append(both.is_ready)
    other.degraded("parking", "waits")

    assert readiness == [False, True]
    assert both.report() == {
        "status": "degraded",
        "parts": {
            "shop/group": {"state": "ok", "why": ""},
            "audit/group": {"state": "ok", "why": ""},
            "audit/parking": {"state": "degraded", "why": "waits"},
        },
    }
    assert health_of({"shop": one}) is one
