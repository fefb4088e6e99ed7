"""What users write: functions, registered for the events they handle."""

import inspect
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Never, TypeAlias, TypeVar

from forebay.schemas.event import PortalEvent

from .budgets import Budget
from .errors import BadHandler
from .options import CoalesceKey, DedupKey, Options
from .retry import End

if sys.version_info >= (3, 14):
    from annotationlib import Format

    # Annotations are looked at only when somebody asks, and may name what is there for type checkers alone.
    _signature = partial(inspect.signature, annotation_format=Format.STRING)
else:
    _signature = inspect.signature

#: What a handler gets: an event, or with `batch` a list of them.
Given: TypeAlias = PortalEvent | list[PortalEvent]

#: Takes the event, or with `batch` a list of events; which of the two is an option's affair, not a type's.
HandlerFunction = Callable[[Any], Awaitable[None] | None]
_Function = TypeVar("_Function", bound=HandlerFunction)

#: Names come from outside, so what was looked up is remembered up to a number of names only.
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A function with one of its patterns; all patterns of one `on` share its options and its budget."""

    function: HandlerFunction
    pattern: str
    is_async: bool
    options: Options
    budget: Budget | None
    name: str
    place: str
    #: Its calls may be about more than the first event that waits, or have to wait for a budget.
    looks_ahead: bool

    def matches(self, event_name: str) -> bool:
        """Whether the pattern covers the name."""
        if self.pattern.endswith("*"):
            return event_name.startswith(self.pattern[:-1])
        return event_name == self.pattern

    def marks_as(self, other: "Handler") -> bool:
        """Whether a key of one's own (`dedup`) counts for both, though it may mean something else to each."""
        if not (callable(self.options.dedup) and callable(other.options.dedup)) or self.name != other.name:
            return False
        return self.function != other.function or self.options.dedup != other.options.dedup

    def is_as(self, other: "Handler | None") -> bool:
        """Whether both come from the same `on`: their events may share a call."""
        return other is not None and other.function is self.function and other.options is self.options


class Handlers:
    """The handlers of an application. In a group the most exact one handles an event: name, longest `PREFIX*`, `*`.

    Those without a group are in the group of the setting; each other group gets every event, too.
    """

    def __init__(self) -> None:
        #: By group (as registered), kind and pattern.
        self._handlers: dict[tuple[str | None, str, str], Handler] = {}
        self._found: dict[tuple[str, str], Handler | None] = {}

    def on(
        self,
        *names: str,
        kind: str = "event",
        group: str | None = None,
        deadline_s: float | None = None,
        tries: int | None = None,
        give_up: End | None = None,
        batch: int | None = None,
        batch_wait_s: float | None = None,
        coalesce: Literal["entity"] | CoalesceKey | None = None,
        rate: str | Budget | None = None,
        burst: int | None = None,
        dedup: Literal["id"] | DedupKey | None = None,
        dedup_s: float | None = None,
        cpu: bool = False,
        verified: bool = False,
        **unknown: Never,
    ) -> Callable[[_Function], _Function]:
        """Register the decorated function for events of these names and this kind; it is returned as it is.

        A name may be exact, `ONCRM*` or `*`. The function takes the event, with `batch` a list of events; it returns
        None, or raises `Retry`, `Reject` or anything else, which is a failure and tried again. docs/handlers.md has the
        options. Raises `BadHandler`, with all faults, when that can't work.
        """
        _check_names(names)
        options = Options.checked(
            {
                "kind": kind,
                "group": group,
                "deadline_s": deadline_s,
                "tries": tries,
                "give_up": give_up,
                "batch": batch,
                "batch_wait_s": batch_wait_s,
                "coalesce": coalesce,
                "rate": rate,
                "burst": burst,
                "dedup": dedup,
                "dedup_s": dedup_s,
                "cpu": cpu,
                "verified": verified,
                **unknown,
            }
        )

        def register(function: _Function) -> _Function:
            is_async, name, place = _checked(function)
            if options.cpu:
                _check_cpu(function, is_async, f"{name} ({place})")
            budget = _budget(options, f"{name} {' '.join(names)}")
            for given in names:
                self._add(
                    Handler(
                        function=function,
                        pattern=given.upper() if options.kind == "event" else given,
                        is_async=is_async,
                        options=options,
                        budget=budget,
                        name=name,
                        place=place,
                        looks_ahead=options.looks_ahead,
                    )
                )
            return function

        return register

    def __iter__(self) -> Iterator[Handler]:
        """Every pattern with its handler, in the order of registration."""
        return iter(self._handlers.values())

    def __len__(self) -> int:
        return len(self._handlers)

    def groups(self) -> list[str | None]:
        """The groups that were named, and None for those handlers that name none, in the order of registration."""
        return list(dict.fromkeys(handler.options.group for handler in self))

    def of(self, *groups: str | None) -> "Handlers":
        """The handlers of these groups, as those of one. Raises `BadHandler` when two of them want the same."""
        if len(self.groups()) <= 1 and set(self.groups()) <= set(groups):
            return self
        found = Handlers()
        for handler in self:
            if handler.options.group in groups:
                found._put(handler, None)
        return found

    def find(self, kind: str, name: str) -> Handler | None:
        """The handler of an event, if any; of handlers of several groups ask those `of` one."""
        try:
            return self._found[kind, name]
        except KeyError:
            return self._look_up(kind, name)

    def _add(self, handler: Handler) -> None:
        self._put(handler, handler.options.group)

    def _put(self, handler: Handler, group: str | None) -> None:
        kind = handler.options.kind
        key = group, kind, handler.pattern
        other = self._handlers.get(key)
        if other is not None:
            raise BadHandler(
                f"{kind} {handler.pattern} has two handlers: {other.name} ({other.place}) and {handler.name} "
                f"({handler.place}); in a group an event has one handler: let one go, call it, or give it a group"
            )
        self._check_budget(handler)
        self._check_marks(handler, group)
        self._handlers[key] = handler
        self._found.clear()

    def _check_budget(self, handler: Handler) -> None:
        for other in self:
            mine, its = handler.budget, other.budget
            if mine and its and mine.name == its.name and mine != its:
                raise BadHandler(
                    f"{handler.name} and {other.name} share the budget {mine.name!r}, but one says {mine}, and the "
                    f"other {its}; make one Budget and give it to both"
                )

    def _check_marks(self, handler: Handler, group: str | None) -> None:
        for other in (other for (its, _, _), other in self._handlers.items() if its == group):
            if handler.marks_as(other):
                raise BadHandler(
                    f"two handlers are called {handler.name} ({other.place} and {handler.place}), and have `dedup` by "
                    f"a key: what one has handled would count as handled by the other; write a function for each, or "
                    f"set the __qualname__ of one before it is registered"
                )

    def _look_up(self, kind: str, name: str) -> Handler | None:
        matching = [handler for handler in self if handler.options.kind == kind and handler.matches(name)]
        found = max(matching, key=_exactness, default=None)
        if len(self._found) >= _REMEMBERED:
            self._found.clear()
        self._found[kind, name] = found
        return found


def _exactness(handler: Handler) -> tuple[bool, int]:
    return not handler.pattern.endswith("*"), len(handler.pattern)


def _check_names(names: tuple[str, ...]) -> None:
    if not names or not all(isinstance(name, str) for name in names):
        raise BadHandler('say which events: @handlers.on("ONCRMDEALADD")')
    for name in names:
        if not name or "*" in name[:-1] or name != name.strip():
            raise BadHandler(f"{name!r} is no name of events; it may be exact, end with a star (ONCRM*), or be a star")


def _budget(options: Options, name: str) -> Budget | None:
    if options.rate is None or isinstance(options.rate, Budget):
        return options.rate
    return Budget(name, options.rate, options.burst or 0)


def _check_cpu(function: object, is_async: bool, named: str) -> None:
    if is_async:
        raise BadHandler(f"{named} is `async def`; with cpu=True it computes in a process, so make it `def`")
    if "<" in getattr(function, "__qualname__", ""):
        raise BadHandler(f"{named} stands inside another function; with cpu=True it must stand at the top of a module")


def _unwrapped(function: Callable[..., object]) -> object:
    """What is called in the end: the function that was decorated, or of which some arguments are given already."""
    plain = inspect.unwrap(function)
    return _unwrapped(plain.func) if isinstance(plain, partial) else plain


def _checked(function: object) -> tuple[bool, str, str]:
    """Whether it is async, its name and its place. Raises `BadHandler` unless it can be called with an event."""
    if not callable(function):
        raise BadHandler(f"a handler is a function, not {type(function).__name__}")
    plain = _unwrapped(function)
    code = getattr(plain, "__code__", None) or getattr(type(plain).__call__, "__code__", None)
    # A partial may have a name of its own.
    given = getattr(function, "__qualname__", None) if isinstance(function, partial) else None
    own = given or getattr(plain, "__qualname__", type(plain).__qualname__)
    name = f"{getattr(plain, '__module__', '?')}:{own}"
    place = f"{code.co_filename}:{code.co_firstlineno}" if code else "no source"
    inner = function if inspect.isroutine(function) or hasattr(function, "func") else type(function).__call__
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise BadHandler(f"{name} ({place}) has a `yield` in it: calling it would do nothing")
    try:
        _signature(function).bind(object())
    except TypeError as error:
        raise BadHandler(f"{name} ({place}) must take one argument, an event or a batch: {error}") from None
    return inspect.iscoroutinefunction(inner), name, place
