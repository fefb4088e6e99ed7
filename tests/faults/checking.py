"""What became of numbered events: whether each that was acknowledged stands in the queue, once and in its order."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

#: Portal → its events as `tests.order.named` names them.
Events = Mapping[str, Sequence[str]]


@dataclass(kw_only=True)
class Findings:
    """What is wrong, portal by portal; and what stands twice, which is allowed up to the bound of a fault."""

    #: Acknowledged, and nowhere.
    lost: dict[str, list[str]] = field(default_factory=dict)
    #: Acknowledged, and behind another of the portal that was sent later. Counted by each event's first place.
    out_of_order: dict[str, list[str]] = field(default_factory=dict)
    #: Told as not kept, and kept: whoever is told so may send it again.
    denied: dict[str, list[str]] = field(default_factory=dict)
    #: Told as not kept, and their portal was told of fewer.
    untold: dict[str, list[str]] = field(default_factory=dict)
    #: Acknowledged, in the queue, and seen by no handler.
    unseen: dict[str, list[str]] = field(default_factory=dict)
    #: Stands in the queue so many times more than once.
    doubled: dict[str, list[str]] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.out_of_order or self.denied or self.untold or self.unseen)


def examine(
    kept: Events,
    standing: Events,
    *,
    denied: Mapping[str, Collection[int]] | None = None,
    told: Mapping[str, int] | None = None,
    aside: Collection[str] = (),
    handled: Collection[str] | None = None,
) -> Findings:
    """`standing` is the queue in its order; `aside` are the ids that quarantine has; `denied` are sequence numbers, and
    `told` is how many of them each portal was told of."""
    found, told = Findings(), told or {}
    for portal in kept.keys() | standing.keys() | (denied or {}).keys():
        _examine_portal(found, portal, kept.get(portal, ()), standing.get(portal, ()), aside)
        refused = (denied or {}).get(portal, ())
        _note(found.denied, portal, [one for one in standing.get(portal, ()) if int(one.partition("#")[2]) in refused])
        _note(found.untold, portal, [f"#{one}" for one in refused] if told.get(portal, 0) < len(refused) else [])
        if handled is not None:
            _note(found.unseen, portal, [one for one in kept.get(portal, ()) if one not in handled])
    return found


def _examine_portal(
    found: Findings, portal: str, kept: Sequence[str], standing: Sequence[str], aside: Collection[str]
) -> None:
    times, asked = Counter(standing), set(kept)
    first = [one for one in times if one in asked]
    _note(found.lost, portal, [one for one in kept if one not in times and one.partition("#")[0] not in aside])
    _note(found.doubled, portal, [one for one, often in times.items() for _ in range(often - 1)])
    _note(found.out_of_order, portal, _late(first, {one: place for place, one in enumerate(kept)}))


def _late(found: Sequence[str], places: Mapping[str, int]) -> list[str]:
    """Those that stand behind another one that was sent after them."""
    highest, late = -1, []
    for one in found:
        if places[one] < highest:
            late.append(one)
        highest = max(highest, places[one])
    return late


def _note(notes: dict[str, list[str]], portal: str, events: list[str]) -> None:
    if events:
        notes[portal] = events


def count(notes: Mapping[str, Sequence[str]]) -> int:
    """How many events."""
    return sum(len(events) for events in notes.values())


def all_open(said: Sequence[tuple[float, bool]], processes: int, end: float) -> tuple[float, float] | None:
    """From when so many knew at once that the queue takes nothing, to when the first heard that it does, or the end.

    `said` is when one of them opened its breaker (True) or closed it, in order. One that dies says nothing.
    """
    knowing, since = 0, None
    for when, opens in said:
        knowing = max(0, knowing + (1 if opens else -1))
        if since is None and knowing == processes:
            since = when
        if since is not None and not opens:
            return since, when
    return None if since is None else (since, end)


def by_portal(pairs: Collection[tuple[str, int]]) -> dict[str, set[int]]:
    """Sequence numbers, portal by portal."""
    found: dict[str, set[int]] = defaultdict(set)
    for portal, sequence in pairs:
        found[portal].add(sequence)
    return found
