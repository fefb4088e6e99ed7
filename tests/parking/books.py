"""What the handlers of the world were given, event by event, and what must not have happened."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from forebay import Handlers, PortalEvent


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How the events of some portals are handled."""

    family: str
    objects: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def name(self, number: int) -> str:
        """Each seventh event is an add, and no other may stand for it."""
        return f"{self.family}{'ADD' if number % 7 == 0 else 'UPDATE'}"

    def object(self, number: int) -> int:
        """What the event is about: mixed, but the same each time."""
        return number * number % self.objects if self.objects else number


KINDS = {
    "plain": Kind(family="ONCRMDEAL"),
    "batch": Kind(family="ONCRMLEAD", options={"batch": 4, "batch_wait_s": 0.1}),
    "fold": Kind(family="ONCRMCONTACT", objects=4, options={"coalesce": "entity"}),
    "slow": Kind(family="ONCRMQUOTE", options={"rate": "2/s", "burst": 3}),
    "all": Kind(
        family="ONCRMCOMPANY",
        objects=4,
        options={"batch": 3, "batch_wait_s": 0.1, "coalesce": "entity", "rate": "3/s", "burst": 2},
    ),
    "hold": Kind(family="ONCALENDARENTRY", options={"give_up": "hold", "tries": 4}),
}


def kind_of(portal: str) -> Kind:
    """By the portal's first name."""
    return KINDS.get(portal.partition(".")[0], KINDS["plain"])


def number_of(event: PortalEvent) -> int:
    """Its number among those of its portal."""
    data: Any = event.data
    return int(data["FIELDS"]["SEQ"])


@dataclass(kw_only=True)
class Books:
    """The account. Times are the caller's."""

    time: Callable[[], float]
    sent: Counter[str] = field(default_factory=Counter)
    #: Portal → the numbers that were finished, in that order; each once.
    done: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    done_at: dict[tuple[str, int], float] = field(default_factory=dict)
    #: Portal, or portal and object → the number that was done last, again or not.
    latest: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    #: What may come again, since whoever did it died.
    excused: set[tuple[str, int]] = field(default_factory=set)
    begun_at: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    folded: Counter[str] = field(default_factory=Counter)

    def register(self, handlers: Handlers, function: Callable[[Any], Any]) -> None:
        """Let the function handle every event."""
        for kind in KINDS.values():
            handlers.on(f"{kind.family}*", **kind.options)(function)

    def begin(self, portal: str) -> None:
        """A call begins."""
        self.begun_at[portal].append(self.time())

    def excuse(self, portals: Collection[str], since: float) -> None:
        """What of these portals was finished since then may come again."""
        self.excused |= {one for one, at in self.done_at.items() if at >= since and one[0] in portals}

    def note(self, event: PortalEvent) -> None:
        """The event is handled."""
        portal, number = event.portal, number_of(event)
        if (portal, number) in self.done_at and (portal, number) not in self.excused:
            self.faults.append(f"{portal} {number} is handled again, without a death that explains it")
        self.folded[portal] += event.folded
        stands_for = self._stands_for(portal, number)
        self._check_order(portal, number, stands_for, event.folded)
        for one in stands_for:
            if (portal, one) not in self.done_at:
                self.done[portal].append(one)
                self.done_at[portal, one] = self.time()

    def _stands_for(self, portal: str, number: int) -> Sequence[int]:
        """The numbers that are finished with it: back to the last add about the object, or to what is done."""
        kind, found = kind_of(portal), [number]
        if not kind.objects:
            return found
        for one in range(number - 1, 0, -1):
            if kind.object(one) == kind.object(number):
                if kind.name(one).endswith("ADD") or kind.name(number).endswith("ADD"):
                    break
                found.append(one)
        return found[::-1]

    def _check_order(self, portal: str, number: int, stands_for: Sequence[int], folded: int) -> None:
        kind = kind_of(portal)
        about = f"{portal} {kind.object(number)}" if kind.objects else portal
        before = [one for one in range(1, stands_for[0]) if not kind.objects or kind.object(one) == kind.object(number)]
        # Whoever goes back goes on from there: a portal must not end with what is older than what it had.
        missing = [one for one in before if one > self.latest[about] or (portal, one) not in self.done_at]
        if missing:
            self.faults.append(f"{portal} {number} comes right after {self.latest[about]}, and before {missing}")
        if folded >= len(stands_for):
            self.faults.append(f"{portal} {number} stands for {folded} others, but there were {len(stands_for) - 1}")
        self.latest[about] = number

    def is_complete(self) -> bool:
        """Whether everything that was sent is finished."""
        return all(sorted(self.done[portal]) == list(range(1, count + 1)) for portal, count in self.sent.items())

    def judge(self) -> None:
        """Nothing is lost, doubled or out of order, no object ends with an old state, and the limits were held."""
        assert self.faults == []
        for portal, count in self.sent.items():
            kind = kind_of(portal)
            done = sorted(self.done[portal]) if kind.objects else self.done[portal]
            assert done == list(range(1, count + 1)), f"{portal}: {self.done[portal]} of {count}"
            for one in range(1, count + 1):
                about = f"{portal} {kind.object(one)}" if kind.objects else portal
                assert self.latest[about] >= one, f"{about} ends with {self.latest[about]}, not {one} of {count}"
            self._judge_limit(portal)

    def _judge_limit(self, portal: str) -> None:
        options, begun = kind_of(portal).options, self.begun_at[portal]
        if "rate" not in options:
            return
        per_s = float(options["rate"].partition("/")[0])
        for first, began in enumerate(begun):
            for last in range(first, len(begun)):
                most = (options["burst"] + per_s * (begun[last] - began)) * 1.1
                assert last - first + 1 <= most + 1e-6, f"{portal}: too many calls in {begun[first : last + 1]}"
