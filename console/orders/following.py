"""How far the workers are with what was ordered, as the parked stream tells it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from forebay.processors.parking.orders import Order, What
from forebay.queues.contract import Inspector
from forebay.queues.errors import QueueUnavailable

from .orders import count_of
from .parking_view import ParkingView, ends_of

#: So many looks in a row without an owner, and it is no rebalance any more.
_LOOKS_UNOWNED = 15

#: So many looks in a row without an answer, and the queue is gone.
_LOOKS_UNANSWERED = 30


@dataclass(slots=True, kw_only=True)
class Following:
    """The orders that were written, and what is known of each."""

    inspector: Inspector
    topic: str
    #: Group and partition → the orders there, by their offsets, whose records are not handled yet.
    _open: dict[tuple[str, int], dict[int, Order]] = field(default_factory=dict)
    #: Records of orders that are through.
    _through: int = 0
    _under_way: int = 0
    _views: dict[tuple[str, int], ParkingView] = field(default_factory=dict)
    #: Portals whose record failed again, or that are held: nobody waits for them here.
    stuck: set[str] = field(default_factory=set)
    #: For how many looks no worker had the partition, of a group; and which were owned at one look at least.
    _unowned: dict[tuple[str, int], int] = field(default_factory=dict)
    _were_owned: set[tuple[str, int]] = field(default_factory=set)
    _unanswered: int = 0

    def add(self, orders: Iterable[Order], partition: int) -> None:
        """Follow these, too; they stand in the partition."""
        for order in orders:
            self._open.setdefault((order.group, partition), {})[order.offset] = order

    @property
    def open(self) -> int:
        """How many orders are not obeyed, or not done."""
        return sum(map(len, self._open.values()))

    @property
    def done(self) -> int:
        """How many records were handled."""
        return self._through + self._under_way

    @property
    def without_worker(self) -> list[tuple[str, int]]:
        """Groups and partitions in which nobody obeys."""
        return sorted(
            of
            for of, looks in self._unowned.items()
            if looks >= _LOOKS_UNOWNED or (looks and of not in self._were_owned)
        )

    @property
    def is_over(self) -> bool:
        """Whether nothing will come of waiting any longer."""
        nobody = set(self.without_worker)
        served = (orders for of, orders in self._open.items() if of not in nobody)
        return all(order.portal in self.stuck for orders in served for order in orders.values())

    async def look(self) -> None:
        """Read how it stands now. Raises `QueueUnavailable` when the queue has not answered for many looks."""
        try:
            await self._look()
            self._unanswered = 0
        except QueueUnavailable:
            # What was ordered goes on without us; a broker that is restarted is no reason to leave it unwatched.
            self._unanswered += 1
            if self._unanswered >= _LOOKS_UNANSWERED:
                raise

    async def _look(self) -> None:
        states = await self.inspector.groups(self.topic, {group for (group, _), orders in self._open.items() if orders})
        ends = await ends_of(self.inspector, self.topic)
        self._under_way = 0
        for group, partition in [of for of, orders in self._open.items() if orders]:
            view = self._views.setdefault(
                (group, partition), ParkingView(topic=self.topic, group=group, partition=partition)
            )
            await view.look(self.inspector, states.get(group, {}).get(partition), ends)
            self._see(view)

    def _see(self, view: ParkingView) -> None:
        of = view.group, view.partition
        self._unowned[of] = 0 if view.owner is not None else self._unowned.get(of, 0) + 1
        if view.owner is not None:
            self._were_owned.add(of)
        for order in list(self._open[of].values()):
            if not view.has_seen(order):
                continue
            replaying = view.replaying(order) if order.what is What.REPLAY else None
            if replaying is None:
                del self._open[of][order.offset]
                self._through += count_of(order)
                continue
            self._under_way += replaying.done
            state = view.state(order.portal)
            if state is not None and (state.is_held or state.due_ms is not None):
                self.stuck.add(order.portal)
