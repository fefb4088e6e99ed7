"""What is known of a parked portal: all of it fits into one record, however many of the portal's records wait."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Self, TypeAlias

import orjson

#: Stands for the record before a portal's first spilled one.
FIRST = -1

#: A spilled record among the others of its portal: its lap, and its offset in the topic. Each time what the topic has
#: comes again a lap begins: offsets grow within one only.
Mark: TypeAlias = tuple[int, int]


class Reason(StrEnum):
    """Why a portal is parked."""

    FAILING = "failing"
    #: More of its records came than it gets through.
    FLOODING = "flooding"
    #: An operator said so, or the handler's `give_up`.
    HELD = "held"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What a portal waits for."""

    reason: Reason
    attempts: int = 0
    delay_s: float | None = None
    error: str = ""
    error_class: str = ""


@dataclass(slots=True, kw_only=True)
class Replaying:
    """A replay that was ordered: the offset of the order in the audit stream, and how many of its records are done."""

    order: int
    done: int = 0
    #: When it was ordered. In a copy of the stream another order may stand there; 0 was told by versions before.
    at_ms: int = 0


@dataclass(slots=True, kw_only=True)
class PortalState:
    """How it stands with a parked portal. Offsets are the topic's, positions the parked stream's; times are in ms."""

    reason: str = Reason.FAILING
    #: Of the first record that waits; meaningless while none does.
    next: int = 0
    #: The offset of the spilled record before that one, or `FIRST`.
    after: int = FIRST
    #: The offset of the last spilled record.
    last: int = FIRST
    #: The laps of these two, and of what is spilled next.
    after_lap: int = 0
    last_lap: int = 0
    lap: int = 0
    #: The last spilled ones of laps that are over, as far as they wait, or what waits stands right behind them.
    lap_ends: list[Mark] = field(default_factory=list)
    records: int = 0
    since_ms: int = 0
    #: Of the record that comes first: its tries, when the next one is due, and what was wrong with the last.
    attempts: int = 0
    due_ms: int | None = None
    error: str = ""
    error_class: str = ""
    is_held: bool = False
    #: Spilled records up to this offset of the lap, and replays ordered before that one of the audit stream, are given
    #: up without another try; and why.
    discard_to: int = FIRST
    discard_lap: int = 0
    discard_orders: int = 0
    discarded: str = ""
    replays: list[Replaying] = field(default_factory=list)
    #: Offsets of spilled records behind the first that are finished before their turn, or the lowest of those.
    done: list[int] = field(default_factory=list)
    #: Of laps behind the first, where one of these stands: versions before knew of none.
    done_later: list[Mark] = field(default_factory=list)
    #: Orders before this offset of the audit stream are in here.
    orders: int = 0
    #: What the topic has from this offset on is none of what was spilled, though that may have such offsets: the group
    #: was moved back, or others stand there now. None until then, and once the next one is spilled.
    again_from: int | None = None

    @property
    def first(self) -> int | None:
        """Where the first record stands that waits, if one does."""
        return self.next if self.records else None

    @property
    def settled(self) -> int:
        """What the topic has up to this offset was spilled, or is done."""
        return self.last if self.again_from is None else min(self.last, self.again_from - 1)

    @property
    def is_free(self) -> bool:
        """Whether nothing waits, and nothing was ordered that is still to be done."""
        return not (self.records or self.is_held or self.replays)

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing of it is to be handled now: it is held, or waits for its time."""
        return self.is_held or self.due_ms is not None

    @property
    def before(self) -> Mark:
        """The spilled record before the first that waits."""
        return self.after_lap, self.after

    @property
    def newest(self) -> Mark:
        """The last spilled record."""
        return self.last_lap, self.last

    @property
    def gives_up_first(self) -> bool:
        """Whether the first record that waits is given up without another try."""
        return bool(self.records) and self.before < (self.discard_lap, self.discard_to)

    def begun(self, reason: str, since_ms: int) -> Self:
        """Of who waits anew, when nothing waits any more."""
        return type(self)(
            reason=reason,
            since_ms=since_ms,
            orders=self.orders,
            last=self.last,
            last_lap=self.last_lap,
            lap=self.lap,
            again_from=self.again_from,
        )

    def begin_at(self, position: int) -> None:
        """Nothing waits before what is spilled there."""
        self.next, self.after, self.after_lap, self.records = position, FIRST, 0, 0
        self.lap_ends = []

    def advance(self, position: int, mark: Mark) -> None:
        """The first record that waits, which stood at this position, is finished."""
        self.next, (self.after_lap, self.after) = position + 1, mark
        self.lap_ends = [end for end in self.lap_ends if end >= mark]
        self.records -= 1
        self.start_anew()

    def spill(self, mark: Mark) -> None:
        """One more waits, behind all others."""
        if not self.records and not self.gives_up(mark):
            self.discard_to, self.discard_lap = FIRST, 0
        (self.last_lap, self.last), self.again_from = mark, None
        self.lap = max(self.lap, self.last_lap)
        self.records += 1

    def gives_up(self, mark: Mark) -> bool:
        """Whether the spilled record is one of those that are given up without another try."""
        return mark <= (self.discard_lap, self.discard_to)

    def come_again(self, offset: int) -> None:
        """What the topic has from the offset on is none of what was spilled."""
        self.again_from, self.lap = offset, self.lap + 1
        if self.records and self.newest not in self.lap_ends:
            self.lap_ends.append(self.newest)

    def may_follow(self, before: Mark, mark: Mark) -> bool:
        """Whether it can come right behind that one, and is no copy: of one before, or of one that nobody knows of."""
        if before in self.lap_ends:
            return mark[0] > before[0]
        # Versions before had no laps, and what came again had the same as all else.
        return mark > before or not before[0]

    def know_orders(self, end: int) -> None:
        """As in `Ledger`."""
        self.orders, self.discard_orders = min(self.orders, end), min(self.discard_orders, end)

    def start_anew(self) -> None:
        """Another record comes first now."""
        self.attempts, self.due_ms, self.error, self.error_class = 0, None, "", ""

    def to_bytes(self) -> bytes:
        """As it is kept."""
        return orjson.dumps(self)

    @classmethod
    def from_bytes(cls, value: bytes) -> Self:
        """As it was kept, also by another version. Raises `ValueError`."""
        given = orjson.loads(value)
        known = {one.name: given[one.name] for one in fields(cls) if one.name in given}
        known["replays"] = list(_replays(known.get("replays", ())))
        for name in ("done_later", "lap_ends"):
            known[name] = [(lap, offset) for lap, offset in known.get(name, ())]
        return cls(**known)


def _replays(given: Iterable[dict[str, Any]]) -> Iterable[Replaying]:
    return (Replaying(order=one["order"], done=one["done"], at_ms=one.get("at_ms", 0)) for one in given)
