"""The parked portals of one partition that is ours: who is parked, what is spilled, and what is told of it.

A partition's new owner first claims its part of the parked stream, then reads who is parked, and only then begins.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from forebay.processors.health import Health
from forebay.processors.held import Held
from forebay.processors.lanes import Lane, Lanes
from forebay.processors.notes import Place
from forebay.queues.contract import StoredRecord
from forebay.queues.errors import QueueError
from forebay.schemas.portal import partition_of

from . import entries
from .ledger import Ledger
from .loading import Loading
from .orders import Order, What
from .portal import ParkedPortal, Spill
from .restored import Replay, Restored
from .state import FIRST, PortalState, Reason, Replaying
from .stream import ParkedStream

if TYPE_CHECKING:
    from forebay.processors.partitions import Partition

_log = structlog.get_logger(__name__)

#: Records of a portal on their way at once; one that is not kept lets those behind it be sent again.
_SPILL_RECORDS = 200

#: Between two attempts at what the parked stream did not take.
_AGAIN_S = 1.0

#: A new owner reads no more than about so many records to know who is parked.
_LONGEST_READ = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What a portal waits for."""

    reason: Reason
    attempts: int = 0
    delay_s: float | None = None
    error: str = ""
    error_class: str = ""


class Parking:
    """One assignment's part of the parked stream. All of it runs on the event loop."""

    def __init__(
        self, partition: "Partition", stream: ParkedStream, lanes: Lanes, held: Held, health: Health, place: Place
    ) -> None:
        self._partition, self._stream, self._lanes, self._held, self._health = partition, stream, lanes, held, health
        self.portals: dict[str, ParkedPortal] = {}
        #: Portal → offset up to which its records were spilled before a crash could be committed.
        self._settled: dict[str, int] = {}
        self._place = place
        self._generation = place.generation
        self._partitions = 0
        self._claimed_at = self._tail = place.position
        #: The next offset of the audit stream.
        self.orders = place.orders
        self._loading = Loading(self._partition.number, stream, self.portals, held, health, self._loaded)
        self._tasks: set[asyncio.Task[None]] = set()
        #: Records that came before it was known who is parked; None since it is.
        self._early: list[StoredRecord] | None = []
        self._is_settling = False

    # How it begins and ends

    def open(self, confirm: Callable[[], Awaitable[bool]]) -> None:
        """Begin: `confirm` commits the partition, and says whether it is still ours."""
        self._run(self._open(confirm))

    async def _open(self, confirm: Callable[[], Awaitable[bool]]) -> None:
        while not self._partition.is_gone:
            try:
                ledger = await self._claim(confirm)
                break
            except QueueError as error:
                self._health.failing("parking", f"the parked stream can't be used: {error}")
                _log.warning("parked stream can't be used; trying again", error=str(error))
                await asyncio.sleep(_AGAIN_S)
        else:
            return
        self._health.ok("parking")
        self._take_over(ledger)
        early, self._early = self._early or [], None
        self._lanes.add(self._partition, self.route(early))
        await self._loading.run()

    async def _claim(self, confirm: Callable[[], Awaitable[bool]]) -> Ledger:
        """Have a generation of our own, in the commit and in the stream, and read what stands before it there."""
        self._partitions = await self._stream.partitions()
        number, generation = self._partition.number, self._place.generation
        while True:
            generation += 1
            self._generation = generation
            while not await confirm():
                await asyncio.sleep(_AGAIN_S)
            self._claimed_at = await self._stream.claim(number, generation, self.orders)
            ledger = await self._read(number, self._claimed_at + 1)
            # When the note was lost, the stream still knows.
            self.orders = max(self.orders, ledger.orders)
            await self._read_replays(ledger)
            if ledger.generation == generation:
                return ledger
            generation = ledger.generation

    async def _read(self, number: int, end: int) -> Ledger:
        place = self._place
        if place.position >= end:
            _log.error("the parked stream was made anew: who was parked is not known", partition=number)
            place = Place()
        ledger = Ledger(generation=place.in_force)
        await self._stream.read_into(ledger, number, place.position, end)
        return ledger

    async def _read_replays(self, ledger: Ledger) -> None:
        ends = await self._stream.ends(self._stream.audit)
        found = await self._stream.orders(self._partition.number, self.orders, ends[self._partition.number])
        self._orders = [*found]
        self._replays: dict[int, Order] = {}
        for known in ledger.portals.values():
            for replaying in known.state.replays:
                order = await self._stream.order(self._partition.number, replaying.order)
                if order is not None:
                    self._replays[replaying.order] = order
        self.orders = max(self.orders, ends[self._partition.number])

    def _take_over(self, ledger: Ledger) -> None:
        self._tail = self._claimed_at + 1
        for name, known in ledger.portals.items():
            portal = self.portals[name] = ParkedPortal(name, known.state, known.anchor)
            portal.replays.extend(_replays(known.state.replays, self._replays))
            if known.state.last >= self._partition.watermark.position:
                self._settled[name] = known.state.last
            # Said again by us it stands behind our claim, and nobody after us has to read what is before it.
            portal.tell_replays()
            self._write(portal)
            self._when_due(portal)
        for order in self._orders:
            self.obey(order)
        self._orders, self._replays = [], {}

    def _run(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a part of parking failed", partition=self._partition.number, error=repr(error))

    async def settle(self) -> None:
        """Before the last commit: what is on its way is kept, and what happened is told."""
        self._is_settling = True
        self._loading.close()
        self.tell()
        while writers := [one.writer for one in self.portals.values() if one.writer is not None]:
            await asyncio.wait(writers)

    def drop(self) -> Iterable[StoredRecord]:
        """Leave it to another; gives the records that are in no lane and still held."""
        for task in list(self._tasks):
            task.cancel()
        yield from self._early or ()
        for portal in self.portals.values():
            if portal.timer is not None:
                portal.timer.cancel()
            yield from (record for record in portal.to_spill if record is not portal.in_hand)

    # What comes, and what gets done

    def route(self, records: list[StoredRecord]) -> list[StoredRecord]:
        """Those of the topic's next records that go into their lanes; the others wait, or waited already."""
        if self._early is not None:
            self._early += records
            return []
        if not self.portals and not self._settled:
            return records
        return [record for record in records if not self._keeps(record)]

    def _keeps(self, record: StoredRecord) -> bool:
        if record.offset <= self._settled.get(record.key, FIRST):
            self._partition.finish_offset(record.offset)
            self._held.remove(record)
            return True
        portal = self.portals.get(record.key)
        if portal is None or portal.is_through:
            return False
        self._hand_over(portal, [record])
        return True

    def finish(self, record: StoredRecord) -> bool:
        """A record is finished. False when parking has nothing to do with it."""
        portal = self.portals.get(record.key)
        if portal is None or not portal.finish(record):
            return False
        if portal.done_early != record.offset:
            self._held.remove(record)
        self._look_after(portal)
        return True

    @property
    def is_ready(self) -> bool:
        """Whether it is known who is parked."""
        return self._early is None

    def can_park(self, portal: str) -> bool:
        """Whether the portal's records may wait in the parked stream: they must stand in the partition of their key."""
        return self._early is None and partition_of(portal, self._partitions) == self._partition.number

    def park(self, lane: Lane, trouble: Trouble, in_hand: StoredRecord | None = None) -> None:
        """Let the lane's portal wait. The lane has no records then, but the one that a handler has in hand."""
        portal = self._parked(lane.portal, trouble.reason)
        self._empty(lane, portal, in_hand)
        state = portal.state
        state.attempts, state.error, state.error_class = trouble.attempts, trouble.error, trouble.error_class
        state.is_held = state.is_held or trouble.reason is Reason.HELD
        state.due_ms = None
        if trouble.delay_s is not None:
            state.due_ms = self._stream.now_ms() + int(trouble.delay_s * 1000)
        self._write(portal)
        self._when_due(portal)

    def _parked(self, name: str, reason: Reason) -> ParkedPortal:
        portal = self.portals.get(name)
        if portal is None:
            portal = self.portals[name] = ParkedPortal(name, PortalState(orders=0))
        if portal.state.is_free and not portal.to_spill:
            portal.begin(reason, self._stream.now_ms())
        portal.is_dirty = True
        return portal

    def _empty(self, lane: Lane | None, portal: ParkedPortal, in_hand: StoredRecord | None) -> None:
        """Take from the lane what waits there, but for what a handler has in hand; it is loaded when it is due."""
        had, portal.in_hand = portal.in_hand, None if isinstance(in_hand, Restored) else in_hand
        records = list(lane.records) if lane is not None else []
        fresh = [one for one in records if not isinstance(one, Restored) and one.offset > portal.handed_over]
        for record in records:
            is_kept = isinstance(record, Restored) or (record is had and not portal.is_to_be_spilled(record))
            if is_kept and record is not in_hand:
                self._held.remove(record)
        if lane is not None:
            lane.keep_only(in_hand)
        portal.load_from(in_hand)
        self._hand_over(portal, fresh)

    def _clear(self, portal: ParkedPortal) -> None:
        """The same for a portal whose lane may be in any state."""
        lane = self._partition.lanes.get(portal.portal)
        if lane is not None and lane.records and not lane.is_at_work:
            portal.state.attempts = lane.attempts
        self._empty(lane, portal, lane.records[0] if lane is not None and lane.records and lane.is_at_work else None)

    def _hand_over(self, portal: ParkedPortal, records: list[StoredRecord]) -> None:
        if records:
            portal.to_spill.extend(records)
            portal.handed_over = records[-1].offset
            self._write(portal)

    def obey(self, order: Order) -> None:
        """Do what an operator ordered."""
        self.orders = max(self.orders, order.offset + 1)
        portal = self.portals.get(order.portal)
        if portal is not None and order.offset < portal.state.orders:
            return
        is_about_parking = order.stream == self._stream.name
        match order.what:
            case What.HOLD if is_about_parking:
                self._hold(order)
            case What.RESUME if is_about_parking and portal is not None:
                portal.state.is_held = False
            case What.DISCARD if is_about_parking and portal is not None:
                self._discard(portal, order)
            case What.REPLAY if order.spans and not is_about_parking:
                self._replay(order)
            case _:
                return
        _log.info("an order is obeyed", what=order.what, portal=order.portal, who=order.who, why=order.why)
        self._obeyed(self.portals[order.portal], order)

    def _obeyed(self, portal: ParkedPortal, order: Order) -> None:
        state = portal.state
        state.orders = order.offset + 1
        portal.order = order.offset if portal.order is None else portal.order
        if order.what is not What.HOLD:
            # Somebody looked after it: it begins with all its tries, and now.
            state.start_anew()
        portal.is_dirty = True
        self._write(portal)
        self._when_due(portal)

    def _hold(self, order: Order) -> None:
        portal = self._parked(order.portal, Reason.HELD)
        portal.state.is_held = True
        self._clear(portal)

    def _discard(self, portal: ParkedPortal, order: Order) -> None:
        state = portal.state
        self._clear(portal)
        state.is_held = False
        state.discard_to, state.discard_orders = portal.handed_over, order.offset
        state.discarded = f"discarded by {order.who}: {order.why}"

    def _replay(self, order: Order) -> None:
        portal = self._parked(order.portal, Reason.REPLAY)
        self._clear(portal)
        portal.replays.append(Replay(order=order.offset, stream=order.stream, offsets=order.offsets()))
        portal.tell_replays()

    # Loading

    def _when_due(self, portal: ParkedPortal) -> None:
        if portal.timer is not None:
            portal.timer.cancel()
            portal.timer = None
        due_ms = portal.state.due_ms
        if due_ms is None or portal.state.is_held:
            self._look_after(portal)
            return
        delay_s = max(0.0, (due_ms - self._stream.now_ms()) / 1000)
        portal.timer = asyncio.get_running_loop().call_later(delay_s, self._due, portal)

    def _due(self, portal: ParkedPortal) -> None:
        portal.timer = None
        portal.state.due_ms = None
        self._look_after(portal)

    def _look_after(self, portal: ParkedPortal) -> None:
        """Something happened to it: let it be loaded, be through, or be no longer parked."""
        if portal.wants:
            self._loading.want(portal, self._partition.lanes.get(portal.portal))
        elif self._is_through(portal):
            portal.is_through = True
        if portal.is_over:
            del self.portals[portal.portal]

    @staticmethod
    def _is_through(portal: ParkedPortal) -> bool:
        state = portal.state
        waits = state.is_held or state.due_ms is not None or portal.replays or portal.to_spill
        return not waits and portal.is_loaded and portal.in_hand is None

    def _loaded(self, portal: ParkedPortal, records: list[Restored]) -> None:
        """Some of its records are in memory again: they go behind those that are in its lane."""
        if records:
            lane = self._partition.lanes.get(portal.portal)
            is_first = lane is None or not lane.records
            self._lanes.add(self._partition, records)
            if is_first:
                self._partition.lanes[portal.portal].attempts = portal.state.attempts
        self._look_after(portal)

    # What is told

    def tell(self) -> None:
        """Put what changed into the parked stream, and what was said there too long ago."""
        oldest = self._tail - _LONGEST_READ
        for portal in list(self.portals.values()):
            if portal.anchor is not None and portal.anchor < oldest:
                portal.is_dirty = True
            if portal.is_dirty or portal.to_spill:
                self._write(portal)
        position = self._partition.watermark.position
        self._settled = {name: offset for name, offset in self._settled.items() if offset >= position}

    def place(self) -> Place:
        """From where a new owner would have to read."""
        if self._early is not None:
            place = self._place
            return Place(
                generation=self._generation, position=place.position, in_force=place.in_force, orders=place.orders
            )
        anchors = [one.anchor for one in self.portals.values() if one.anchor is not None]
        position = min(anchors, default=self._tail)
        unsaved = (one.order for one in self.portals.values() if one.order is not None)
        is_ours = position >= self._claimed_at
        return Place(
            generation=self._generation,
            position=position if is_ours else self._place.position,
            in_force=self._generation if is_ours else self._place.in_force,
            orders=min(unsaved, default=self.orders),
        )

    def _write(self, portal: ParkedPortal) -> None:
        """See to it that what is to be written of the portal is written; in one order, so by one task."""
        if portal.writer is None:
            portal.writer = self._run(self._write_all(portal))

    async def _write_all(self, portal: ParkedPortal) -> None:
        try:
            while portal.is_dirty or (portal.to_spill and not self._is_settling):
                # A state in which nothing waits yet would say that nothing is parked.
                is_told_first = portal.is_dirty and not portal.state.is_free
                try:
                    await (self._spill(portal) if portal.to_spill and not is_told_first else self._state(portal))
                except QueueError as error:
                    self._health.degraded("parking", f"the parked stream takes nothing: {error}")
                    _log.warning("not parked; trying again", portal=portal.portal, error=str(error))
                    await asyncio.sleep(_AGAIN_S)
                else:
                    self._health.ok("parking")
        finally:
            portal.writer = None
        self._look_after(portal)

    async def _state(self, portal: ParkedPortal) -> None:
        order, portal.order, portal.is_dirty = portal.order, None, False
        record = entries.statement(portal.portal, portal.state, self._whose, self._stream.now_ms())
        try:
            position = await self._stream.write(record)
        except BaseException:
            portal.is_dirty = True
            portal.order = order if order is not None else portal.order
            raise
        portal.anchor = position
        self._tail = max(self._tail, position + 1)
        self._partition.has_news = True

    async def _spill(self, portal: ParkedPortal) -> None:
        batch = portal.spills(self._whose, _SPILL_RECORDS, self._stream.now_ms())
        # Tasks made in order keep a key's order, and share the queue's group commit.
        sent = [asyncio.ensure_future(self._stream.write(spill.kept)) for spill in batch]
        results = await asyncio.gather(*sent, return_exceptions=True)
        for spill, result in zip(batch, results, strict=True):
            if isinstance(result, BaseException):
                raise result
            self._spilled(portal, spill, result)
        self._look_after(portal)

    def _spilled(self, portal: ParkedPortal, spill: Spill, position: int) -> None:
        record = spill.record
        self._tail = max(self._tail, position + 1)
        is_waiting = portal.spilled(spill, position)
        if self._partition.is_gone:
            return
        self._partition.finish_offset(record.offset)
        if not is_waiting or record is not portal.in_hand:
            self._held.remove(record)

    @property
    def _whose(self) -> entries.Whose:
        return self._stream.group, self._generation


def _replays(told: Iterable[Replaying], known: dict[int, Order]) -> Iterable[Replay]:
    for one in told:
        if one.order in known:
            order = known[one.order]
            yield Replay(order=one.order, stream=order.stream, offsets=order.offsets(), done=one.done, loaded=one.done)
