"""The options of `Handlers.on`: one value, checked in one place."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Literal, Self, TypeAlias, get_args

from forebay.schemas.event import KINDS, PortalEvent

from .budgets import Budget, rate_faults
from .errors import BadHandler
from .retry import End

#: Gives what an event is about, so that of those that wait about the same only the last is handled; None for one that
#: is handled in any case.
CoalesceKey: TypeAlias = Callable[[PortalEvent], str | None]

#: Gives what makes two events the same for a handler; None for one that is handled in any case.
DedupKey: TypeAlias = Callable[[PortalEvent], str | None]

#: As the setting `group`, whose module takes a while to load.
_GROUP = re.compile(r"[A-Za-z0-9._-]{1,200}")

#: A portal's lane has no more in memory for a while, and a longer list nobody reads at once.
_LONGEST_BATCH = 1000
#: Longer than this it is no batch any more but a schedule.
_LONGEST_BATCH_WAIT_S = 60.0

#: Thirty days; marks of handled events take room for as long.
_LONGEST_DEDUP_S = 2_592_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What an author wants of one registration. None means the setting of that name, or that it was not asked for."""

    kind: str = "event"
    group: str | None = None
    deadline_s: float | None = None
    tries: int | None = None
    give_up: End | None = None
    batch: int | None = None
    batch_wait_s: float | None = None
    coalesce: Literal["entity"] | CoalesceKey | None = None
    rate: str | Budget | None = None
    burst: int | None = None
    dedup: Literal["id"] | DedupKey | None = None
    dedup_s: float | None = None
    cpu: bool = False
    #: Only events whose portal is verified; others wait until it is, for a day at most.
    verified: bool = False

    @property
    def looks_ahead(self) -> bool:
        """Whether a call may be about more than the first event that waits, or has to wait for a budget."""
        return bool(self.batch or self.coalesce or self.rate)

    @classmethod
    def checked(cls, given: Mapping[str, object]) -> Self:
        """The options that were given. Raises `BadHandler`, which names all faults at once."""
        known = {one.name: one.default for one in fields(cls)}
        # What stands at its default was not given, so that it can't be what doesn't combine.
        options = cls(**{name: value for name, value in given.items() if name in known})  # type: ignore[arg-type]
        faults = [f"there is no option {name}; there are {', '.join(known)}" for name in given if name not in known]
        faults += _faults(options)
        if faults:
            raise BadHandler("on() can't work like this: " + "; ".join(faults))
        return options


def _faults(options: Options) -> Iterator[str]:
    """What can't be, and what can't be together."""
    yield from _basic_faults(options)
    yield from _batch_faults(options)
    yield from _coalesce_faults(options)
    yield from _rate_faults(options)
    yield from _dedup_faults(options)


def _basic_faults(options: Options) -> Iterator[str]:
    if options.kind not in KINDS:
        yield f"there is no kind {options.kind!r}; there are {', '.join(KINDS)}"
    if options.group is not None and not _GROUP.fullmatch(str(options.group)):
        yield f"group={options.group!r}: a group's name has up to 200 letters, digits, dots, dashes and underscores"
    if options.deadline_s is not None and not options.deadline_s > 0:
        yield f"deadline_s={options.deadline_s}: a handler needs more than 0 seconds"
    if options.tries is not None and options.tries < 1:
        yield f"tries={options.tries}: a handler is called at least once"
    if options.give_up not in (None, *get_args(End)):
        yield f"give_up={options.give_up!r}: an event is given up as {' or '.join(map(repr, get_args(End)))}"


def _batch_faults(options: Options) -> Iterator[str]:
    batch, wait_s = options.batch, options.batch_wait_s
    if batch is not None and not (isinstance(batch, int) and 1 <= batch <= _LONGEST_BATCH):
        yield f"batch={batch!r}: a batch has 1 to {_LONGEST_BATCH} events"
    if wait_s is not None and batch is None:
        yield "batch_wait_s is for batches: say batch=… too"
    if wait_s is not None and not 0 <= wait_s <= _LONGEST_BATCH_WAIT_S:
        yield f"batch_wait_s={wait_s}: a batch waits for 0 to {_LONGEST_BATCH_WAIT_S:g} seconds"


def _coalesce_faults(options: Options) -> Iterator[str]:
    coalesce: object = options.coalesce
    if coalesce not in (None, "entity") and not callable(coalesce):
        yield f'coalesce={coalesce!r}: say "entity", or give a function of the event'
    if coalesce == "entity" and options.kind != "event":
        yield f'coalesce="entity" is for events, and a call of kind {options.kind} names no entity; give a function'


def _rate_faults(options: Options) -> Iterator[str]:
    if isinstance(options.rate, Budget):
        if options.burst is not None:
            yield "burst belongs into the Budget that is given as rate"
    elif options.rate is not None:
        yield from rate_faults(options.rate, options.burst)
    elif options.burst is not None:
        yield "burst is for limits: say rate=… too"


def _dedup_faults(options: Options) -> Iterator[str]:
    dedup: object = options.dedup
    if dedup not in (None, "id") and not callable(dedup):
        yield f'dedup={dedup!r}: say "id", or give a function of the event'
    if options.dedup_s is not None and dedup is None:
        yield "dedup_s is for dedup: say dedup=… too"
    if options.dedup_s is not None and not 0 < options.dedup_s <= _LONGEST_DEDUP_S:
        yield f"dedup_s={options.dedup_s}: it is remembered for more than 0 and at most {_LONGEST_DEDUP_S:.0f} seconds"
    if dedup is not None and options.batch is not None:
        yield "dedup looks at one event at a time, and a batch has several: choose one of both"
