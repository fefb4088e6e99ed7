"""What is to be moved, read once from beginning to end before anything is written."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from forebay.console.stillness import Places
from forebay.console.times import from_ms, iso
from forebay.queues.moves.marker import Ends, Marker
from forebay.schemas import names

from .arrived import Arrived
from .choosing import Chosen
from .facts import Learned
from .lacking import Waits, What
from .letters import open_letters
from .sides import Side


@dataclass(slots=True, kw_only=True)
class Amount:
    """How much there is of something."""

    records: int = 0
    portals: set[str] = field(default_factory=set)
    bytes: int = 0
    oldest_ms: int | None = None
    #: So many of them stand in the target already.
    there: int = 0

    def add(self, one: Waits, *, is_there: bool) -> None:
        """Count one more."""
        record = one.record
        self.records += 1
        self.there += is_there
        self.portals.add(record.key)
        self.bytes += len(record.value)
        self.oldest_ms = record.timestamp_ms if self.oldest_ms is None else min(self.oldest_ms, record.timestamp_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The move as a whole."""

    chosen: Chosen
    #: The source's streams end there; nothing of what is planned stands behind it.
    ends: Ends
    #: How far its groups were: what they finish later is moved all the same.
    places: Places
    #: The move that began before and did not come to its end, if that is so.
    begun: Marker | None
    #: Where the target's streams ended before it was read what they have of that move; empty where none began.
    target_ends: Ends
    #: What stood before in the source was moved by a move that was done.
    since: Ends
    amounts: dict[What, Amount]
    learned: Learned
    #: Group and portal.
    held: list[tuple[str, str]]
    #: What the target has of it since the move began.
    arrived: Arrived
    #: Everything was moved from the target once, and it is to be used again, also where nothing waits.
    takes_back: bool

    @property
    def ordered(self) -> dict[str, list[str]]:
        """Group → the portals for which something was ordered that only a worker can do, and none has done yet."""
        found: dict[str, list[str]] = {}
        for part in self.chosen.every:
            group = part.view.group
            is_moved = group in self.chosen.names and part.moves_replays
            if waits := part.discarded | (set() if is_moved else part.replayed):
                found[group] = sorted({*found.get(group, []), *waits})
        return found

    def all_ends(self, topic: str) -> Ends:
        """The ends of the streams, and of the facts about portals."""
        return {**self.ends, names.portals(topic): {0: self.learned.end}}

    @property
    def records(self) -> int:
        """How many are planned, moved already or not."""
        return sum(amount.records for amount in self.amounts.values())

    @property
    def there(self) -> int:
        """How many of them stand in the target."""
        return sum(amount.there for amount in self.amounts.values())

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to be done."""
        is_ordered = bool(self.ordered) and not self.since
        waits = self.records or self.learned.facts or self.held or is_ordered or self.takes_back
        return self.begun is None and not waits

    def rows(self, topic: str) -> list[dict[str, object]]:
        """What lists show of it."""
        rows = [_row(str(what), stream_of(what, topic), amount) for what, amount in self.amounts.items()]
        if facts := self.learned.facts:
            rows.append(_row("facts about portals", names.portals(topic), Amount(records=len(facts))))
        if self.held:
            rows.append(_row("portals to be held", names.audit(topic), Amount(records=len(self.held))))
        return rows


def _row(what: str, stream: str, amount: Amount) -> dict[str, object]:
    oldest = iso(from_ms(amount.oldest_ms)) if amount.oldest_ms is not None else None
    return {
        "what": what,
        "to": stream,
        "records": amount.records,
        "portals": len(amount.portals) or None,
        "bytes": amount.bytes or None,
        "oldest": oldest,
        "there": amount.there,
    }


def stream_of(what: What, topic: str) -> str:
    """Where in the target it goes."""
    return {What.DEAD: names.dead(topic), What.QUARANTINED: names.quarantine(topic)}.get(what, topic)


def parts_of(side: Side, chosen: Chosen, base: Ends, since: Ends, ends: Ends) -> list[AsyncIterator[Waits]]:
    """All that waits before the ends, as parts of which each has its own order. From `base` letters count back."""
    letters = [
        open_letters(side.inspector, side.topic, what, base[side.topic], since, ends)
        for what in (What.DEAD, What.QUARANTINED)
    ]
    return [*letters, *(part.all() for part in chosen.parts)]


async def counted(
    side: Side, parts: list[AsyncIterator[Waits]], arrived: Arrived
) -> tuple[dict[What, Amount], Arrived]:
    """How much there is of each; and what the target has beside it."""
    amounts: dict[What, Amount] = {}
    strange = arrived.copy()
    for part in parts:
        async for one in part:
            is_there = strange.take(stream_of(one.what, side.topic), one.record)
            amounts.setdefault(one.what, Amount()).add(one, is_there=is_there)
    return {what: amounts[what] for what in What if what in amounts}, strange
