"""What users write: functions, registered for the events they handle."""

import inspect
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Never, TypeVar, get_args

from forebay.schemas.event import KINDS, PortalEvent

from .errors import BadHandler
from .retry import End

HandlerFunction = Callable[[PortalEvent], Awaitable[None] | None]
_Function = TypeVar("_Function", bound=HandlerFunction)

#: Names come from outside, so what was looked up is remembered up to a number of names only.
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A function with one of its patterns and its options; None means the setting of that name."""

    function: HandlerFunction
    pattern: str
    kind: str
    is_async: bool
    deadline_s: float | None
    tries: int | None
    give_up: End | None
    #: Whether it gets only events whose portal is verified.
    verified: bool
    name: str
    place: str

    def matches(self, event_name: str) -> bool:
        """Whether the pattern covers the name."""
        if self.pattern.endswith("*"):
            return event_name.startswith(self.pattern[:-1])
        return event_name == self.pattern


class Handlers:
    """The handlers of a group. The most exact one handles an event: the name, then the longest `PREFIX*`, then `*`."""

    def __init__(self) -> None:
        self._handlers: dict[tuple[str, str], Handler] = {}
        self._found: dict[tuple[str, str], Handler | None] = {}

    def on(
        self,
        *names: str,
        kind: str = "event",
        deadline_s: float | None = None,
        tries: int | None = None,
        give_up: End | None = None,
        verified: bool = False,
        **unknown: Never,
    ) -> Callable[[_Function], _Function]:
        """Register the decorated function for events of these names and this kind; it is returned as it is.

        A name may be exact, `ONCRM*` or `*`. The function takes the event; it returns None, or raises `Retry`, `Reject`
        or anything else, which is a failure and tried again. With `verified` it gets no event of a portal that is not
        verified: such a one waits until it is, for a day at most. Raises `BadHandler` when that can't work.
        """
        if unknown:
            raise BadHandler(
                f"on() has no option {', '.join(unknown)}; there are kind, deadline_s, tries, give_up, verified"
            )
        _check_options(names, kind, deadline_s, tries, give_up)

        def register(function: _Function) -> _Function:
            is_async, name, place = _checked(function)
            for given in names:
                pattern = given.upper() if kind == "event" else given
                self._add(
                    Handler(
                        function=function,
                        pattern=pattern,
                        kind=kind,
                        is_async=is_async,
                        deadline_s=deadline_s,
                        tries=tries,
                        give_up=give_up,
                        verified=verified,
                        name=name,
                        place=place,
                    )
                )
            return function

        return register

    def __iter__(self) -> Iterator[Handler]:
        """Every pattern with its handler, in the order of registration."""
        return iter(self._handlers.values())

    def __len__(self) -> int:
        return len(self._handlers)

    def find(self, kind: str, name: str) -> Handler | None:
        """The handler of an event, if any."""
        try:
            return self._found[kind, name]
        except KeyError:
            return self._look_up(kind, name)

    def _add(self, handler: Handler) -> None:
        key = handler.kind, handler.pattern
        other = self._handlers.get(key)
        if other is not None:
            raise BadHandler(
                f"{handler.kind} {handler.pattern} has two handlers: {other.name} ({other.place}) and {handler.name} "
                f"({handler.place}); one event has one handler, so let one of them go or call the other"
            )
        self._handlers[key] = handler
        self._found.clear()

    def _look_up(self, kind: str, name: str) -> Handler | None:
        matching = [handler for handler in self if handler.kind == kind and handler.matches(name)]
        found = max(matching, key=_exactness, default=None)
        if len(self._found) >= _REMEMBERED:
            self._found.clear()
        self._found[kind, name] = found
        return found


def _exactness(handler: Handler) -> tuple[bool, int]:
    return not handler.pattern.endswith("*"), len(handler.pattern)


def _check_options(
    names: tuple[str, ...], kind: str, deadline_s: float | None, tries: int | None, give_up: str | None
) -> None:
    if not names or not all(isinstance(name, str) for name in names):
        raise BadHandler('say which events: @handlers.on("ONCRMDEALADD")')
    for name in names:
        if not name or "*" in name[:-1] or name != name.strip():
            raise BadHandler(f"{name!r} is no name of events; it may be exact, end with a star (ONCRM*), or be a star")
    if kind not in KINDS:
        raise BadHandler(f"there is no kind {kind!r}; there are {', '.join(KINDS)}")
    if deadline_s is not None and not deadline_s > 0:
        raise BadHandler(f"deadline_s={deadline_s}: a handler needs more than 0 seconds")
    if tries is not None and tries < 1:
        raise BadHandler(f"tries={tries}: a handler is called at least once")
    if give_up not in (None, *get_args(End)):
        raise BadHandler(f"give_up={give_up!r}: an event is given up as {' or '.join(map(repr, get_args(End)))}")


def _checked(function: object) -> tuple[bool, str, str]:
    """Whether it is async, its name and its place. Raises `BadHandler` unless it can be called with an event."""
    if not callable(function):
        raise BadHandler(f"a handler is a function, not {type(function).__name__}")
    plain = inspect.unwrap(function)
    code = getattr(plain, "__code__", None)
    name = f"{getattr(plain, '__module__', '?')}:{getattr(plain, '__qualname__', type(plain).__qualname__)}"
    place = f"{code.co_filename}:{code.co_firstlineno}" if code else "no source"
    inner = function if inspect.isroutine(function) or hasattr(function, "func") else type(function).__call__
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise BadHandler(f"{name} ({place}) has a `yield` in it: calling it would do nothing")
    try:
        inspect.signature(function).bind(object())
    except TypeError as error:
        raise BadHandler(f"{name} ({place}) must take one argument, the event: {error}") from None
    return inspect.iscoroutinefunction(inner), name, place
