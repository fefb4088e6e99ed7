"""Registering handlers, and finding the one for an event."""

import functools
import sys
from collections.abc import Callable
from typing import Any

import pytest

from forebay import Handlers, PortalEvent
from forebay.processors.errors import BadHandler


async def handle(event: PortalEvent) -> None:
    """Does nothing."""


def found(handlers: Handlers, name: str, kind: str = "event") -> str | None:
    handler = handlers.find(kind, name)
    return handler.pattern if handler else None


def test_the_most_exact_pattern_handles_an_event() -> None:
    handlers = Handlers()
    for pattern in ("*", "ONCRM*", "ONCRMDEAL*", "ONCRMDEALADD"):
        handlers.on(pattern)(handle)

    names = ("ONCRMDEALADD", "ONCRMDEALUPDATE", "ONCRMLEADADD", "ONTASKADD")
    assert [found(handlers, name) for name in names] == ["ONCRMDEALADD", "ONCRMDEAL*", "ONCRM*", "*"]


def test_a_kind_has_its_own_handlers_and_names_keep_their_case_there() -> None:
    handlers = Handlers()
    handlers.on("OnCrmDealAdd")(handle)
    handlers.on("my_Robot", kind="robot")(handle)

    assert found(handlers, "ONCRMDEALADD") == "ONCRMDEALADD"
    assert found(handlers, "my_Robot", "robot") == "my_Robot"
    assert found(handlers, "my_Robot") is None


def test_a_handler_registered_later_counts_at_once() -> None:
    handlers = Handlers()
    assert handlers.find("event", "ONTASKADD") is None

    handlers.on("ONTASK*")(handle)

    assert found(handlers, "ONTASKADD") == "ONTASK*"


def test_names_from_outside_don_t_fill_the_memory() -> None:
    handlers = Handlers()
    handlers.on("*")(handle)

    for number in range(10_000):
        handlers.find("event", f"ON{number}")

    assert len(handlers._found) <= 4096


def test_the_decorated_function_stays_what_it_was() -> None:
    assert Handlers().on("A", "B")(handle) is handle


def test_two_handlers_for_one_pattern_are_refused_with_both_places() -> None:
    handlers = Handlers()
    handlers.on("ONCRMDEALADD")(handle)

    with pytest.raises(BadHandler) as refused:

        @handlers.on("OnCrmDealAdd")
        def other(event: PortalEvent) -> None: ...

    text = str(refused.value)
    assert "handle (" in text
    assert "other (" in text
    assert text.count("test_handlers.py:") == 2


def test_what_is_async_is_seen_through_wrappers() -> None:
    class Service:
        async def __call__(self, event: PortalEvent) -> None: ...

        async def method(self, event: PortalEvent) -> None: ...

    async def with_setting(setting: int, event: PortalEvent) -> None: ...

    def plain(event: PortalEvent) -> None: ...

    given: list[Callable[..., Any]] = [Service(), Service().method, functools.partial(with_setting, 1), handle, plain]
    handlers = Handlers()
    for number, function in enumerate(given):
        handlers.on(f"ON{number}")(function)

    assert [handler.is_async for handler in handlers] == [True, True, True, True, False]


def no_argument() -> None: ...


def two_arguments(event: PortalEvent, more: int) -> None: ...


def generator(event: PortalEvent) -> Any:
    yield


async def async_generator(event: PortalEvent) -> Any:
    yield


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (no_argument, "must take one argument"),
        (two_arguments, "must take one argument"),
        (generator, "yield"),
        (async_generator, "yield"),
        ("deal_added", "a handler is a function, not str"),
    ],
)
def test_what_can_t_handle_an_event_is_refused_when_it_is_registered(function: Any, says: str) -> None:
    with pytest.raises(BadHandler, match=says):
        Handlers().on("*")(function)


def test_what_annotations_name_need_not_be_there() -> None:
    # As Python takes it by itself from 3.14 on.
    written = "from __future__ import annotations\n" if sys.version_info < (3, 14) else ""
    written += "async def handle(event: OfTypeCheckersAlone) -> None: ...\n"
    written += "class Handles:\n    async def __call__(self, event: OfTypeCheckersAlone) -> None: ..."
    exec(compile(written, "handlers.py", "exec", dont_inherit=True), module := dict[str, Any]())  # noqa: S102 - ours

    handlers = Handlers()
    handlers.on("ONCRM*")(module["handle"])
    handlers.on("*")(module["Handles"]())

    assert found(handlers, "ONCRMDEALADD") == "ONCRM*"
    assert found(handlers, "ONTASKADD") == "*"


@pytest.mark.parametrize(
    ("names", "options", "says"),
    [
        ((), {}, "say which events"),
        ((handle,), {}, "say which events"),
        (("ON*ADD",), {}, "no name of events"),
        (("",), {}, "no name of events"),
        (("A",), {"kind": "robots"}, "there is no kind 'robots'; there are event, robot"),
        (("A",), {"deadline_s": 0}, "more than 0 seconds"),
        (("A",), {"tries": 0}, "at least once"),
        (("A",), {"timeout": 5}, "no option timeout; there are kind, group, deadline_s"),
        (("A",), {"give_up": "never"}, "given up as 'dead' or 'hold'"),
    ],
)
def test_options_that_can_t_be_are_refused(names: Any, options: Any, says: str) -> None:
    with pytest.raises(BadHandler, match=says):
        Handlers().on(*names, **options)
