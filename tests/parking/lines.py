"""Whose turn it may be, of a portal whose events die, are replayed, and come again after a worker's death."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from forebay import PortalEvent
from tests.parking.books import Books, kind_of, number_of


@dataclass(kw_only=True)
class Line:
    """The events of a portal, or of one object where they are folded: as they were sent, and as they were replayed.

    Each has its turn once, in either order. How far both are is known until a worker dies; then they may be anywhere
    from where they surely were, until the next events show where.
    """

    folds: bool
    sent: list[int] = field(default_factory=list)
    replayed: list[int] = field(default_factory=list)
    #: So many of those that were sent, and of those that were replayed, are finished: each pair that there may be.
    possible: set[tuple[int, int]] = field(default_factory=lambda: {(0, 0)})
    #: When, and how many of both at least.
    known: list[tuple[float, int, int]] = field(default_factory=lambda: [(0.0, 0, 0)])

    @property
    def is_complete(self) -> bool:
        """Whether all may be finished."""
        return (len(self.sent), len(self.replayed)) in self.possible

    def finish(self, number: int, now: float) -> bool:
        """An event is handled, or kept as a dead letter. Whether it may have been its turn."""
        after = {state for sent, replayed in self.possible for state in self._after(number, sent, replayed)}
        self.possible = after or self.possible
        self.known.append((now, *self._least()))
        return bool(after)

    def _after(self, number: int, sent: int, replayed: int) -> Iterator[tuple[int, int]]:
        if number in self.replayed[replayed : replayed + 1]:
            yield sent, replayed + 1
        if number in self.sent[sent : None if self.folds else sent + 1]:
            yield self.sent.index(number) + 1, replayed

    def _least(self) -> tuple[int, int]:
        return min(sent for sent, _ in self.possible), min(replayed for _, replayed in self.possible)

    def go_back(self, since: float, now: float) -> None:
        """What was finished since then may come again, and is not finished for sure before it has."""
        before = max(at for at, known in enumerate(self.known) if known[0] < since or at == 0)
        least = [self._least(), *(known[1:] for known in self.known[before:])]
        least_sent, least_replayed = map(min, zip(*least, strict=True))
        self.possible = {
            (one, other)
            for sent, replayed in self.possible
            for one in range(least_sent, sent + 1)
            for other in range(least_replayed, replayed + 1)
        }
        self.known.append((now, *self._least()))

    @property
    def finished(self) -> Sequence[int]:
        """Those that were sent and are finished for sure."""
        return self.sent[: self._least()[0]]


@dataclass(kw_only=True)
class Turns(Books):
    """The account of a world whose events may die."""

    lines: dict[tuple[str, int], Line] = field(default_factory=dict)

    def _line(self, portal: str, number: int) -> Line:
        kind = kind_of(portal)
        about = portal, kind.object(number) if kind.objects else 0
        return self.lines.setdefault(about, Line(folds=bool(kind.objects)))

    def send(self, portal: str, number: int) -> None:
        """A new event of the portal."""
        self._line(portal, number).sent.append(number)

    def replay(self, portal: str, number: int) -> None:
        """An operator orders it to be handled again."""
        self._line(portal, number).replayed.append(number)

    def finished(self, portal: str) -> list[int]:
        """Which of the portal's events are finished for sure."""
        return sorted(number for (of, _), line in self.lines.items() if of == portal for number in line.finished)

    def note(self, event: PortalEvent) -> None:
        self.finish(event, "handled")

    def finish(self, event: PortalEvent, how: str) -> None:
        """The event is handled, or kept as a dead letter."""
        portal, number = event.portal, number_of(event)
        if not self._line(portal, number).finish(number, self.time()):
            self.faults.append(f"{portal} {number} is {how}, and it is not its turn")

    def excuse(self, portals: Collection[str], since: float) -> None:
        for (portal, _), line in self.lines.items():
            if portal in portals:
                line.go_back(since, self.time())

    def is_complete(self) -> bool:
        return all(line.is_complete for line in self.lines.values())

    def judge(self) -> None:
        assert self.faults == []
        assert {about: line for about, line in self.lines.items() if not line.is_complete} == {}
