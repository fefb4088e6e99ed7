"""How it stands with a group: which portals are parked, and which orders no worker has seen yet."""

from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass, field

from forebay.console.reading import note_of, stream_ends
from forebay.console.times import from_ms, iso
from forebay.processors.notes import Run
from forebay.processors.parking import entries
from forebay.processors.parking.ledger import Ledger
from forebay.processors.parking.orders import Order, What
from forebay.processors.parking.state import FIRST, PortalState, Replaying
from forebay.queues.contract import GroupState, Inspector
from forebay.queues.reading import between
from forebay.schemas import names

from .orders import count_of, is_for_workers, orders_between

#: Of a group that has committed nothing yet.
_NEVER = GroupState(offset=0, owner=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Partition → the end of the parked stream, and of the orders. Streams that are just made more may differ."""

    parked: dict[int, int]
    audit: dict[int, int]


async def ends_of(inspector: Inspector, topic: str) -> Ends:
    """As they are now."""
    parked = await stream_ends(inspector, names.parked(topic))
    return Ends(parked=parked, audit=await stream_ends(inspector, names.audit(topic)))


@dataclass(slots=True, kw_only=True)
class ParkingView:
    """A group in one partition, followed: each look reads what is new."""

    topic: str
    group: str
    partition: int
    owner: str | None = None
    #: Every record of the topic before it is finished, or parked.
    committed: int = 0
    #: What is finished behind it.
    runs: list[Run] = field(default_factory=list)
    #: Orders before it were obeyed, and what came of them can be read.
    obeyed: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    #: The group's orders that are not obeyed yet, and the replays that are under way, by their offsets.
    orders: dict[int, Order] = field(default_factory=dict)
    #: Up to where the parked stream, and that of the orders, was read.
    parked_end: int = 0
    _audit_end: int = 0
    _has_looked: bool = False

    async def look(self, inspector: Inspector, state: GroupState | None, ends: Ends) -> None:
        """Read how it stands now; the state is the group's in this partition, and older than the ends."""
        state = state or _NEVER
        note = note_of(state)
        place = note.place
        self.owner, self.committed, self.runs = state.owner, state.offset, note.runs
        parked_end, audit_end = ends.parked.get(self.partition, 0), ends.audit.get(self.partition, 0)
        self.obeyed = max(self.obeyed, place.orders)
        is_first, self._has_looked = not self._has_looked, True
        if is_first:
            self.ledger, self.parked_end, self._audit_end = Ledger.at(place), place.position, place.orders
        self.parked_end = await self._read_parked(inspector, self.parked_end, parked_end)
        if is_first:
            self.ledger.know_orders(audit_end)
        self._audit_end = await self._read_orders(inspector, self._audit_end, audit_end)
        await self._read_replays(inspector)

    async def _read_parked(self, inspector: Inspector, start: int, end: int) -> int:
        async for record in between(inspector, names.parked(self.topic), self.partition, start, end):
            if (entry := entries.read(record, self.group)) is not None:
                self.ledger.read(entry)
        return max(start, end)

    async def _read_orders(self, inspector: Inspector, start: int, end: int) -> int:
        async for order in orders_between(inspector, self.topic, self.partition, start, end):
            if order.group == self.group and is_for_workers(order, self.topic):
                self.orders[order.offset] = order
        return max(start, end)

    async def _read_replays(self, inspector: Inspector) -> None:
        under_way = {one.order for known in self.ledger.portals.values() for one in known.state.replays}
        for offset in under_way - self.orders.keys():
            async for order in orders_between(inspector, self.topic, self.partition, offset, offset + 1):
                self.orders[offset] = order
        for offset in [offset for offset, order in self.orders.items() if self.has_seen(order)]:
            if offset not in under_way:
                del self.orders[offset]

    def has_seen(self, order: Order) -> bool:
        """Whether an owner of the partition has obeyed it."""
        return order.offset < max(self.obeyed, self.ledger.obeyed.get(order.portal, 0))

    def settled(self, portal: str) -> int:
        """Up to where the portal's records were parked, as a new owner takes it; `FIRST` when none was."""
        if self.ledger.begins_anew:
            # What was parked in an earlier life of the group still waits, and comes again like all else.
            return FIRST
        state = self.state(portal)
        before = self.ledger.settled.get(portal, FIRST)
        return max(before, state.settled if state is not None else FIRST)

    def state(self, portal: str) -> PortalState | None:
        """That of a parked portal; None when it is not parked."""
        known = self.ledger.portals.get(portal)
        return known.state if known is not None else None

    def replaying(self, order: Order) -> Replaying | None:
        """How far the replay is; None when it isn't begun, or is done."""
        state = self.state(order.portal)
        replays = state.replays if state is not None else []
        return next((one for one in replays if one.order == order.offset), None)

    def waiting(self, portal: str | None = None, reason: str | None = None) -> "list[Waiting]":
        """The portals that wait for something."""
        ordered: dict[str, list[Order]] = {}
        for order in self.orders.values():
            if not self.has_seen(order):
                ordered.setdefault(order.portal, []).append(order)
        portals = [portal] if portal is not None else sorted(self.ledger.portals.keys() | ordered.keys())
        found = [self._waiting(name, ordered.get(name, [])) for name in portals]
        return [one for one in found if one is not None and reason in (None, one.reason)]

    def _waiting(self, portal: str, ordered: list[Order]) -> "Waiting | None":
        state = self.state(portal)
        if state is None and not ordered:
            return None
        begun = [(one, self.orders.get(one.order)) for one in (state.replays if state else ())]
        replayed = sum(max(0, count_of(order) - one.done) for one, order in begun if order is not None)
        to_come = sum(count_of(order) for order in ordered if order.what is What.REPLAY)
        return Waiting(
            portal=portal,
            partition=self.partition,
            group=self.group,
            records=(state.records if state else 0) + replayed + to_come,
            state=state,
            ordered=tuple(ordered),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A portal that is parked, or that an order is on its way to."""

    portal: str
    partition: int
    group: str
    records: int
    state: PortalState | None
    ordered: tuple[Order, ...]

    @property
    def reason(self) -> str | None:
        """Why it is parked; None when it is not yet."""
        return self.state.reason if self.state is not None else None

    def row(self) -> dict[str, object]:
        """What lists show of it."""
        state = self.state or PortalState()
        is_due = state.due_ms is not None and not state.is_held
        return {
            "portal": self.portal,
            "partition": self.partition,
            "group": self.group,
            "reason": self.reason,
            "records": self.records,
            "since": iso(from_ms(state.since_ms)) if self.state else None,
            "next_due": iso(from_ms(state.due_ms or 0)) if is_due else None,
            "attempts": state.attempts,
            "error": state.error,
            "error_class": state.error_class,
            "held": state.is_held,
            "ordered": ", ".join(order.what for order in self.ordered) or None,
        }


async def parking_views(
    inspector: Inspector, topic: str, groups: Collection[str], partitions: Iterable[int]
) -> AsyncIterator[ParkingView]:
    """Each of the groups in each of the partitions, as it is now."""
    states = await inspector.groups(topic, groups)
    numbers, ends = list(partitions), await ends_of(inspector, topic)
    for group in groups:
        for partition in numbers:
            view = ParkingView(topic=topic, group=group, partition=partition)
            await view.look(inspector, states.get(group, {}).get(partition), ends)
            yield view
