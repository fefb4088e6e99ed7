"""What a group has not finished of a partition, as the events that a new queue gets. Read again, it says the same."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from forebay.console.orders.parking_view import ParkingView, parking_views
from forebay.processors.offsets import Watermark
from forebay.processors.parking.orders import Order
from forebay.processors.parking.orders import What as Ordered
from forebay.processors.parking.portal import ParkedPortal
from forebay.processors.parking.restored import Replay, from_replay, replay_of, replays_of
from forebay.processors.parking.state import PortalState
from forebay.queues.contract import Bounds, Inspector, Record, StoredRecord
from forebay.queues.reading import between
from forebay.schemas import names

from .errors import CantMove


class What(StrEnum):
    """What something was where it waits."""

    EVENTS = "events"
    PARKED = "events of parked portals"
    REPLAYED = "events ordered again"
    DEAD = "dead letters"
    QUARANTINED = "quarantined calls"


#: What a group's workers handle.
EVENTS = (What.EVENTS, What.PARKED, What.REPLAYED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """A record that waits, as it is to be sent, and where it stood in the topic; below 0 where that says nothing."""

    what: What
    record: Record
    place: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """A group's unfinished part of a partition: a portal's replays, then what is parked of it, then the topic's rest.

    In this order its workers would have handled them. Only what stood in the topic at `since` or later counts.
    """

    inspector: Inspector
    view: ParkingView
    bounds: Bounds
    since: int = 0

    @property
    def lost(self) -> int:
        """How many offsets retention took before the group had finished them."""
        return max(0, self.bounds.start - self.view.committed) if self.view.committed else 0

    @property
    def held(self) -> list[tuple[str, str]]:
        """The portals that an operator, or a handler's `give_up`, holds, each with the group.

        As they are once a worker has obeyed what was ordered: there may never be one of this group.
        """
        held = {name for name, state in self._states() if state.is_held}
        for order in self._unseen():
            if order.what is Ordered.HOLD:
                held.add(order.portal)
            else:
                held.discard(order.portal)
        return [(self.view.group, name) for name in sorted(held)]

    @property
    def discarded(self) -> set[str]:
        """The portals of which a worker still has to give up what waits."""
        parked = {name for name, _ in self._states()}
        found = {name for name, state in self._states() if self._discards(state)}
        for order in self._unseen():
            # Where nothing waits it does no more than a resume.
            if order.what is Ordered.DISCARD and order.portal in parked:
                found.add(order.portal)
            elif order.what is Ordered.REPLAY:
                parked.add(order.portal)
        return found

    @property
    def replayed(self) -> set[str]:
        """The portals with a replay that no worker has begun."""
        return {order.portal for order in self._unseen() if order.what is Ordered.REPLAY}

    @property
    def moves_replays(self) -> bool:
        """Whether they are among `all`: what was moved before is not ordered a second time."""
        return not self.since

    def _unseen(self) -> list[Order]:
        """What no worker has obeyed, in its order."""
        found = (order for order in self.view.orders.values() if not self.view.has_seen(order))
        return sorted(found, key=lambda order: order.offset)

    @staticmethod
    def _discards(state: PortalState) -> bool:
        return state.gives_up_first or any(one.order < state.discard_orders for one in state.replays)

    def _states(self) -> Iterator[tuple[str, PortalState]]:
        return ((name, known.state) for name, known in self.view.ledger.portals.items())

    async def all(self) -> AsyncIterator[Waits]:
        """All of it, in the order of each portal."""
        if self.moves_replays:
            async for one in self._replayed():
                yield one
        async for one in self._parked():
            yield one
        async for one in self._behind():
            yield one

    async def _replayed(self) -> AsyncIterator[Waits]:
        for name, replay in self._replays():
            async for record in self._left(name, replay):
                yield Waits(what=What.REPLAYED, record=plain(from_replay(record, replay, "")))

    def _replays(self) -> Iterator[tuple[str, Replay]]:
        """Those that are under way, and behind them those that a worker would begin now, with their portals."""
        for name, state in self._states():
            for replay in replays_of(name, state.replays, self.view.orders, self.view.topic):
                yield name, replay
        for order in self._unseen():
            if order.what is Ordered.REPLAY:
                yield order.portal, replay_of(order)

    async def _left(self, portal: str, replay: Replay) -> AsyncIterator[StoredRecord]:
        """What is still to be done of a replay, and still there."""
        left = replay.offsets[replay.done :]
        wanted = set(left)
        start, end = (left[0], left[-1] + 1) if left else (0, 0)
        async for record in between(self.inspector, replay.stream, self.view.partition, start, end):
            if record.offset in wanted and record.key == portal:
                yield record

    async def _parked(self) -> AsyncIterator[Waits]:
        # The worker's own eyes: what it would load is what waits. It changes the states, so it gets copies.
        portals = {name: ParkedPortal(name, _copy(state)) for name, state in self._states()}
        async for one in self._loaded(portals):
            yield one
        broken = {name: portal for name, portal in portals.items() if not portal.is_loaded}
        for portal in broken.values():
            portal.give_up_lost()
        async for one in self._loaded(broken):
            yield one

    async def _loaded(self, portals: Mapping[str, ParkedPortal]) -> AsyncIterator[Waits]:
        topic, group = self.view.topic, self.view.group
        start = min((one.load for one in portals.values() if not one.is_loaded), default=self.view.parked_end)
        parked = between(self.inspector, names.parked(topic), self.view.partition, start, self.view.parked_end)
        async for record in parked:
            portal = portals.get(record.key)
            if portal is None or portal.is_loaded or record.offset < portal.load:
                continue
            restored = portal.take(record, topic, group)
            if restored is not None and restored.offset >= self.since:
                yield Waits(what=What.PARKED, record=plain(restored), place=restored.offset)

    async def _behind(self) -> AsyncIterator[Waits]:
        view = self.view
        watermark = Watermark(view.committed, list(self.view.runs))
        start = max(self.bounds.start, view.committed, self.since)
        topic = between(self.inspector, view.topic, view.partition, start, self.bounds.end)
        async for record in topic:
            if not watermark.receive(record.offset, record.timestamp_ms):
                continue
            watermark.finish(record.offset)
            # What was parked by one who could not commit it any more stands in both streams, or is done already.
            if record.offset > view.settled(record.key):
                yield Waits(what=What.EVENTS, record=plain(record), place=record.offset)


def plain(record: StoredRecord) -> Record:
    """The record without its place. How many were finished with it when it was parked is counted anew."""
    headers = tuple(header for header in record.headers if header[0] != names.PARKED_FOLDED)
    return Record(key=record.key, value=record.value, timestamp_ms=record.timestamp_ms, headers=headers)


def _copy(state: PortalState) -> PortalState:
    return replace(PortalState.from_bytes(state.to_bytes()))


async def lacking(
    inspector: Inspector, topic: str, group: str, since: Mapping[int, int] | None = None
) -> list[Lacking]:
    """What the group lacks, a partition after the other. A group that was never there lacks everything.

    Raises `CantMove` where something stands in partitions that nobody of ours uses.
    """
    numbers = range(await inspector.partitions(topic))
    views = [view async for view in parking_views(inspector, topic, [group], numbers)]
    bounds, moved = await inspector.bounds(topic), since or {}
    if strange := [number for number, kept in bounds.items() if number not in numbers and kept.start < kept.end]:
        raise CantMove(
            f"something stands in partitions {', '.join(map(str, strange))} of {topic}, which were added to it alone, "
            "and nobody handles that: `forebay doctor` says what to do"
        )
    return [
        Lacking(inspector=inspector, view=view, bounds=bounds[view.partition], since=moved.get(view.partition, 0))
        for view in views
    ]
