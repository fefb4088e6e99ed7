"""Which portals of a partition are parked, as the parked stream tells it. Pure: owners and commands read it alike.

The stream may be a copy, as a cluster has it that stands in for another: its positions are others than those that stand
in it. Who begins anew, as he does there, goes by where he finds the entries.
"""

from dataclasses import dataclass, field
from typing import Self

from forebay.processors.notes import Place

from .entries import Claimed, Entry, Spilled, Stated
from .state import FIRST, PortalState


@dataclass(slots=True, kw_only=True)
class Known:
    """What is known of a portal, and where in the parked stream the telling of it begins."""

    state: PortalState
    anchor: int


@dataclass(slots=True, kw_only=True)
class Ledger:
    """The sum of a partition's entries, read in their order from a position at which `generation` was in force."""

    generation: int = 0
    #: Orders before this offset of the audit stream were obeyed when the last owner began.
    orders: int = 0
    portals: dict[str, Known] = field(default_factory=dict)
    #: Portal → its own orders before this offset were obeyed; also of portals that are free again.
    obeyed: dict[str, int] = field(default_factory=dict)
    #: Portal → up to where its records were spilled, as it was told last; also of portals that are free again.
    settled: dict[str, int] = field(default_factory=dict)
    #: Whether no owner has said where to read.
    begins_anew: bool = False
    #: The last entry that is known to have been kept stands there, and whether it was read.
    last: int = FIRST
    has_last: bool = False
    #: Portal → where its first spilled record was found, of those that may wait.
    _found: dict[str, int] = field(default_factory=dict)

    @classmethod
    def at(cls, place: Place) -> Self:
        """That of who reads from there on."""
        return cls(generation=place.in_force, begins_anew=place.begins_anew, last=place.end - 1)

    def know_orders(self, end: int) -> None:
        """The audit stream ends there: to who begins anew, orders behind were obeyed in the one of which it is a copy.

        To all others it may seem to end too early, as on a node that is behind; what was obeyed is not done twice.
        """
        if not self.begins_anew:
            return
        self.orders = min(self.orders, end)
        self.obeyed = {portal: min(obeyed, end) for portal, obeyed in self.obeyed.items()}
        for known in self.portals.values():
            known.state.know_orders(end)

    def read(self, entry: Entry) -> None:
        """Take the next entry; one of an owner that was not the last any more says nothing."""
        self.has_last = self.has_last or entry.position == self.last
        if entry.generation < self.generation:
            return
        match entry:
            case Claimed(generation=generation, orders=orders):
                self.generation = generation
                self.orders = max(self.orders, orders)
            case Spilled():
                self._spilled(entry)
            case Stated(portal=portal, state=state, position=position):
                self._stated(portal, state, position)

    def _spilled(self, entry: Spilled) -> None:
        known = self.portals.get(entry.portal)
        if self.begins_anew and (entry.after == FIRST or entry.portal not in self._found):
            self._found[entry.portal] = entry.position
        if entry.after == FIRST:
            # Who begins anew has finished what was before.
            if known is None:
                known = self.portals[entry.portal] = _begun(entry)
            state = known.state
            state.begin_at(entry.position)
        elif known is not None and entry.comes_behind(known.state.newest, known.state):
            state = known.state
        else:
            # A copy, or behind one that was not kept: the owner wrote it again.
            return
        state.spill(entry.mark)

    def _stated(self, portal: str, state: PortalState, position: int) -> None:
        self.obeyed[portal] = max(self.obeyed.get(portal, 0), state.orders)
        if state.last != FIRST:
            self.settled[portal] = state.settled
        if state.is_free:
            self.portals.pop(portal, None)
            self._found.pop(portal, None)
        else:
            if self.begins_anew:
                state.next = min(state.next, self._found.get(portal, position))
            self.portals[portal] = Known(state=state, anchor=position)


def _begun(entry: Spilled) -> Known:
    return Known(state=PortalState(since_ms=entry.at_ms), anchor=entry.position)
