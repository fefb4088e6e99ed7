"""What is registered, as rows, and what is odd about it."""

from collections.abc import Iterator
from dataclasses import fields

from forebay.processors.budgets import Budget
from forebay.processors.handlers import Handler, Handlers
from forebay.processors.options import Options
from forebay.schemas.bitrix24.codes import known_code, known_codes, nearest_code

Row = dict[str, object]


def full_rows(handlers: Handlers) -> list[Row]:
    """A row a pattern, with every option; None where the setting of that name counts."""
    return [_place(handler) | _options(handler) for handler in handlers]


def short_rows(handlers: Handlers) -> list[Row]:
    """The same for people: only the options that were given, in one column."""
    return [_place(handler) | {"options": _given(handler)} for handler in handlers]


def warnings(handlers: Handlers) -> Iterator[str]:
    """A sentence for each pattern that no documented event has, and for two handlers that one event fits."""
    for handler in handlers:
        if handler.options.kind == "event":
            yield from _unknown(handler)
    for group in handlers.groups():
        yield from _shadowed(list(handlers.of(group)))


def _place(handler: Handler) -> Row:
    return {
        "pattern": handler.pattern,
        "kind": handler.options.kind,
        "group": handler.options.group,
        "handler": handler.name,
        "place": handler.place,
    }


def _options(handler: Handler) -> Row:
    shown: Row = {"async": handler.is_async}
    left_out = ("kind", "group")
    return shown | {
        one.name: _shown(getattr(handler.options, one.name)) for one in fields(Options) if one.name not in left_out
    }


def _given(handler: Handler) -> str:
    usual = {one.name: one.default for one in fields(Options)}
    given = ((name, value) for name, value in _options(handler).items() if name in usual and value != usual[name])
    return " ".join(f"{name}={value}" for name, value in given)


def _shown(value: object) -> object:
    if isinstance(value, Budget):
        return f"{value.rate} of {value.name}, burst {value.burst}"
    return getattr(value, "__qualname__", repr(value)) if callable(value) else value


def _unknown(handler: Handler) -> Iterator[str]:
    pattern = handler.pattern
    if pattern.endswith("*"):
        if not any(handler.matches(code) for code in known_codes()):
            yield f"{pattern}: no event that Bitrix24 documents begins so ({handler.place})"
    elif known_code(pattern) is None:
        near = nearest_code(pattern)
        hint = (
            f"; did you mean {near}?" if near else ", which your portal may still have: its REST method `events` tells"
        )
        yield f"{pattern}: Bitrix24 documents no such event{hint} ({handler.place})"


def _shadowed(handlers: list[Handler]) -> Iterator[str]:
    """In one group: the more exact one gets the event, the other does not."""
    for broad in (handler for handler in handlers if handler.pattern.endswith("*")):
        others = [
            one.pattern
            for one in handlers
            if one is not broad
            and one.options.kind == broad.options.kind
            and one.function is not broad.function
            and broad.matches(one.pattern.removesuffix("*"))
        ]
        if others:
            yield (
                f"{broad.pattern}: {broad.name} doesn't get {', '.join(others)}, which have a handler of their own; "
                "if both shall have them, give one a group"
            )
