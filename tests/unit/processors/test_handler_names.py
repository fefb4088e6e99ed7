"""What a handler is called, by which its marks of `dedup` are told from another's."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from forebay import Handlers, PortalEvent
from forebay.processors.errors import BadHandler
from forebay.processors.testing import Rehearsal, event


def entity(event: PortalEvent) -> str:
    return str(event.data["FIELDS"]["ID"])


def other_entity(event: PortalEvent) -> str:
    return entity(event)


class Shop:
    def __init__(self, name: str, called: list[str]) -> None:
        self._name, self._called = name, called

    async def __call__(self, event: PortalEvent) -> None:
        self._called.append(self._name)

    async def method(self, event: PortalEvent) -> None:
        self._called.append(self._name)


async def into(called: list[str], name: str, event: PortalEvent) -> None:
    called.append(name)


def as_partials(called: list[str]) -> list[Callable[..., Any]]:
    return [functools.partial(into, called, name) for name in ("deals", "tasks")]


def as_objects(called: list[str]) -> list[Callable[..., Any]]:
    return [Shop(name, called) for name in ("deals", "tasks")]


def as_methods(called: list[str]) -> list[Callable[..., Any]]:
    return [Shop(name, called).method for name in ("deals", "tasks")]


def as_closures(called: list[str]) -> list[Callable[..., Any]]:
    def made(name: str) -> Callable[..., Any]:
        async def handle(event: PortalEvent) -> None:
            called.append(name)

        return handle

    return [made(name) for name in ("deals", "tasks")]


def called_by(handlers: Handlers, called: list[str]) -> list[str]:
    """Who is called when a deal and a task of the same id have come."""
    with Rehearsal(handlers) as rehearsal:
        for name in ("ONCRMDEALADD", "ONTASKADD"):
            rehearsal.send(event(name, data={"FIELDS": {"ID": 7}}))
        rehearsal.let(60)
    return called


@pytest.mark.parametrize("made", [as_partials, as_objects, as_methods, as_closures])
def test_two_of_one_name_whose_marks_nobody_could_tell_apart_are_refused(made: Any) -> None:
    handlers, (deals, tasks) = Handlers(), made([])
    handlers.on("ONCRMDEALADD", dedup=entity)(deals)

    with pytest.raises(BadHandler, match="__qualname__") as refused:
        handlers.on("ONTASKADD", dedup=entity)(tasks)

    assert str(refused.value).count("test_handler_names.py:") == 2


@pytest.mark.parametrize("made", [as_partials, as_objects, as_closures])
def test_each_may_be_given_a_name_of_its_own(made: Any) -> None:
    handlers, called = Handlers(), list[str]()
    for pattern, name, handle in zip(("ONCRMDEALADD", "ONTASKADD"), ("deals", "tasks"), made(called), strict=True):
        handle.__qualname__ = name
        handlers.on(pattern, dedup=entity)(handle)

    assert [handler.name for handler in handlers] == [f"{__name__}:deals", f"{__name__}:tasks"]
    assert called_by(handlers, called) == ["deals", "tasks"]


def test_one_function_with_two_meanings_of_a_key_is_refused() -> None:
    handlers, shop = Handlers(), Shop("shop", [])
    handlers.on("ONCRMDEALADD", dedup=entity)(shop.method)
    handlers.on("ONCRMDEALUPDATE", dedup=entity, tries=3)(shop.method)

    with pytest.raises(BadHandler, match="__qualname__"):
        handlers.on("ONTASKADD", dedup=other_entity)(shop.method)


def test_those_of_one_name_whose_marks_are_told_apart_are_taken() -> None:
    handlers, called = Handlers(), list[str]()
    deals, tasks = as_partials(called)
    handlers.on("ONCRMDEALADD", dedup="id")(deals)
    handlers.on("ONTASKADD", dedup=entity)(tasks)
    handlers.on("ONTASKADD", dedup=entity, group="audit")(deals)

    assert called_by(handlers.of(None), called) == ["deals", "tasks"]
    with pytest.raises(BadHandler, match="has two handlers"):
        handlers.of(None, "audit")
