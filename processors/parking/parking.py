"""The parked portals of one partition that is ours: who is parked, what is spilled, and what is told of it.

A partition's new owner first claims its part of the parked stream, then reads who is parked, and only then begins.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from forebay.processors.held import Held
from forebay.processors.lanes import Lanes
from forebay.processors.notes import Place
from forebay.processors.partitions import Lane, Partition
from forebay.queues.contract import StoredRecord
from forebay.schemas.logger import get_logger
from forebay.schemas.portal import partition_of

from .loading import Loading
from .obeying import obey
from .opening import Opened, opened
from .orders import Order
from .portal import ParkedPortal
from .restored import Restored, is_ordered, replays_of
from .state import FIRST, PortalState, Reason, Trouble
from .stream import ParkedStream
from .writing import Writing

_log = get_logger(__name__)

#: Between two attempts to begin.
_AGAIN_S = 1.0

#: What takes so long until it begins is told of: a queue that hangs, or takes no commits, raises nothing here.
_PATIENCE_S = 10.0


class Parking:
    """One assignment's part of the parked stream. All of it runs on the event loop."""

    def __init__(
        self, partition: Partition, stream: ParkedStream, lanes: Lanes, held: Held, room: Held, place: Place
    ) -> None:
        """Records of the topic count in `held`, those that were loaded again in `room`: neither waits for the other."""
        self._partition, self._stream, self._lanes, self._held, self._room = partition, stream, lanes, held, room
        self.portals: dict[str, ParkedPortal] = {}
        #: Portal → offset up to which its records were spilled by one who could not commit it any more.
        self._settled: dict[str, int] = {}
        #: From where on the topic's records come again, if they do; for when it is known who is parked.
        self._again_from = partition.watermark.position if place.begins_anew else None
        #: From where we had to read, and what we know of ourselves.
        self._place = place
        self._began_at = place.position
        #: Where our last claim stands.
        self.claimed_at = place.position
        self._partitions = 0
        #: The next offset of the audit stream.
        self.orders = place.orders
        self._writing = Writing(partition, stream, held, self._look_after, self._say_again, place.generation)
        self._loading = Loading(partition.number, stream, self.portals, room, self._loaded)
        self._task: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None
        #: Records that came before it was known who is parked; None since it is.
        self._early: list[StoredRecord] | None = []
        self._cannot_begin = ""

    # How it begins and ends

    @property
    def is_ready(self) -> bool:
        """Whether it is known who is parked."""
        return self._early is None

    @property
    def trouble(self) -> str:
        """What keeps parking from working; empty when nothing does."""
        return self._cannot_begin or self._writing.trouble or self._loading.trouble

    def open(self, confirm: Callable[[], Awaitable[bool]]) -> None:
        """Begin: `confirm` commits the partition, and says whether it is still ours."""
        self._task = asyncio.ensure_future(self._run(confirm))
        self._patience = asyncio.get_running_loop().call_later(_PATIENCE_S, self._lose_patience)

    def _lose_patience(self) -> None:
        if not self._cannot_begin:
            number = self._partition.number
            _log.warning("it takes long to learn who is parked; nothing is begun before", partition=number)
            self._cannot_begin = (
                f"nothing of partition {number} is begun: it has taken more than {_PATIENCE_S:.0f} s to learn who is "
                "parked. The queue hangs, or takes no commits"
            )

    async def _run(self, confirm: Callable[[], Awaitable[bool]]) -> None:
        async def commit(generation: int) -> None:
            self._writing.generation = generation
            while not await confirm():
                await asyncio.sleep(_AGAIN_S)

        while not self.is_ready:
            try:
                self._partitions = await self._stream.partitions()
                self._take_over(await opened(self._stream, self._partition.number, self._place, commit))
                if self._place.begins_anew:
                    # Until that is committed, what is parked from now on would come again for whoever is next.
                    await confirm()
            except Exception as error:
                # A fault must not leave a partition standing still, and nobody told.
                if not self._cannot_begin:
                    _log.warning("who is parked can't be read; trying again", error=repr(error))
                self._cannot_begin = f"who is parked can't be read: {error}"
                await asyncio.sleep(_AGAIN_S)
        await self._loading.run()

    def _take_over(self, known: Opened) -> None:
        self._place = known.place
        self._began_at = self.claimed_at = known.claimed_at
        self._writing.tail = known.claimed_at + 1
        self.orders = known.next_order
        early, self._early = self._early or [], None
        try:
            self._inherit_all(known)
        except Exception:
            # It is tried again: what came waits for that, or what comes later would pass it.
            for portal in self.portals.values():
                portal.close()
            self.portals.clear()
            self._early = early
            raise
        self._stop_waiting()
        self._cannot_begin = ""
        self._lanes.add(self._partition, self.route(early))
        # Which orders were read is to be seen by the commit, also where there was nothing to do.
        self._partition.has_news = True

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _inherit_all(self, known: Opened) -> None:
        if not self._place.begins_anew:
            self._settled = dict(known.ledger.settled)
        for name, told in known.ledger.portals.items():
            self._inherit(ParkedPortal(name, told.state, told.anchor), known.replays)
        if self._again_from is not None:
            self.come_again(self._again_from)
        for order in known.orders:
            self.obey(order)

    def _inherit(self, portal: ParkedPortal, orders: Mapping[int, Order]) -> None:
        self.portals[portal.portal] = portal
        portal.replays.extend(replays_of(portal.portal, portal.state.replays, orders, self._stream.topic))
        if portal.state.settled >= self._partition.watermark.position:
            self._settled[portal.portal] = portal.state.settled
        # Said again by us it stands behind our claim, and nobody after us has to read what is before it.
        portal.tell_replays()
        self.changed(portal)

    def come_again(self, offset: int) -> None:
        """What the topic has from the offset on is to be handled, whatever was spilled of it before.

        So where the group was moved back, and where the queue has lost what stood there. What waits is handled first,
        as it may be all that is left of that.
        """
        if self._early is not None:
            self._again_from = offset if self._again_from is None else min(self._again_from, offset)
            return
        for name, settled in list(self._settled.items()):
            if settled >= offset:
                self._settled[name] = offset - 1
                portal = self.portals.setdefault(name, ParkedPortal(name, PortalState(last=settled)))
                if portal.state.last == FIRST:
                    # It waits for something else by now, and is to say all the same that this counts no more.
                    portal.state.last = settled
        for portal in list(self.portals.values()):
            if portal.state.settled >= offset:
                portal.come_again(offset)
                # Said before anybody else may begin with what it has said until now.
                self.changed(portal)

    async def settle(self) -> None:
        """Before the last commit: what is on its way is kept, and what happened is told."""
        self._loading.close()
        self._writing.close()
        self.tell()
        while writers := [one.writer for one in self.portals.values() if one.writer is not None]:
            await asyncio.wait(writers)

    def drop(self) -> Iterable[StoredRecord]:
        """Leave it to another; gives the topic's records that are in no lane and still held."""
        if self._task is not None:
            self._task.cancel()
        self._stop_waiting()
        for lane in self._partition.lanes.values():
            self._room.remove_all([record for record in lane.records if isinstance(record, Restored)])
        yield from self._early or ()
        for portal in self.portals.values():
            portal.close()
            yield from (record for record in portal.to_spill if not portal.has_in_hand(record))

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
        if portal is None:
            return False
        if not portal.finish(record):
            portal.behind.append(record.offset)
            self._held.remove(record)
        elif isinstance(record, Restored):
            self._room.remove(record)
        elif not portal.is_to_be_spilled(record):
            self._held.remove(record)
        self._look_after(portal)
        return True

    def can_park(self, portal: str) -> bool:
        """Whether the portal's records may wait in the parked stream: they must stand in the partition of their key."""
        return self._early is None and partition_of(portal, self._partitions) == self._partition.number

    def park(self, lane: Lane, trouble: Trouble, in_hand: Sequence[StoredRecord] = ()) -> None:
        """Let the lane's portal wait. The lane has no records then, but those that a handler has in hand."""
        portal = self.parked(lane.portal, trouble.reason)
        self._empty(lane, portal, in_hand)
        state = portal.state
        state.attempts, state.error, state.error_class = trouble.attempts, trouble.error, trouble.error_class
        state.is_held = state.is_held or trouble.reason is Reason.HELD
        state.due_ms = None
        if trouble.delay_s is not None:
            state.due_ms = self._stream.now_ms() + int(trouble.delay_s * 1000)
        self.changed(portal)

    def parked(self, name: str, reason: Reason) -> ParkedPortal:
        """The portal, parked from now on unless it is already."""
        portal = self.portals.get(name)
        if portal is None:
            portal = self.portals[name] = ParkedPortal(name, PortalState(orders=0))
        if portal.state.is_free and not portal.to_spill:
            portal.begin(reason, self._stream.now_ms())
        return portal

    def _empty(self, lane: Lane | None, portal: ParkedPortal, in_hand: Sequence[StoredRecord]) -> None:
        """Take from the lane what waits there, but for what a handler has in hand; it is loaded when it is due."""
        had, portal.in_hand = portal.in_hand, list(in_hand)
        records = list(lane.records) if lane is not None else []
        fresh = [one for one in records if not isinstance(one, Restored) and one.offset > portal.handed_over]
        for record in records:
            if portal.has_in_hand(record):
                continue
            if isinstance(record, Restored):
                self._room.remove(record)
            elif any(one is record for one in had) and not portal.is_to_be_spilled(record):
                self._held.remove(record)
        if lane is not None:
            lane.keep_only(in_hand)
        portal.load_again()
        self._hand_over(portal, fresh)

    def clear(self, portal: ParkedPortal) -> None:
        """Let all that waits be loaded again; the portal's lane may be in any state."""
        lane = self._partition.lanes.get(portal.portal)
        if lane is not None and lane.records and not lane.is_at_work:
            portal.state.attempts = lane.attempts
        self._empty(lane, portal, lane.in_hand if lane is not None else ())

    def holds(self, lane: Lane) -> bool:
        """Whether the lane's portal is held. What is given up, and waits for its dead letter alone, is no try."""
        portal = self.portals.get(lane.portal)
        return portal is not None and portal.state.is_held and lane.burial is None

    def take_back(self, lane: Lane) -> None:
        """What a handler had in hand, and did not finish, waits with all that is parked of its portal."""
        portal = self.portals[lane.portal]
        portal.state.attempts = lane.attempts
        self._empty(lane, portal, ())
        self.changed(portal)

    def fold(self, record: Restored, into: StoredRecord) -> bool:
        """Let a record that was loaded be finished with another in its lane, and not be kept until then."""
        portal = self.portals.get(record.key)
        if portal is None or is_ordered(record) or is_ordered(into):
            return False
        portal.fold(record, into)
        self._room.remove(record)
        return True

    def _hand_over(self, portal: ParkedPortal, records: list[StoredRecord]) -> None:
        if records:
            portal.to_spill.extend(records)
            portal.handed_over = records[-1].offset
            self._writing.begin(portal)

    def obey(self, order: Order) -> None:
        """Do what an operator ordered."""
        obey(self, order, self._stream.topic)

    def changed(self, portal: ParkedPortal) -> None:
        """What is known of it changed: tell it, and see what comes next."""
        portal.is_dirty = True
        self._writing.begin(portal)
        self._when_due(portal)

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
        elif portal.has_all_in_lane:
            portal.is_through = True
        if portal.is_over:
            self.portals.pop(portal.portal, None)

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
        """Put what changed into the parked stream, and what was said there of portals too long ago."""
        self._writing.begin_all(list(self.portals.values()))
        received = self._partition.watermark.received
        self._settled = {name: offset for name, offset in self._settled.items() if offset >= received}

    async def claim_again(self) -> None:
        """Say again whose the partition is: nothing that stands before it is needed for that. Raises `QueueError`."""
        tail = self._writing.tail
        at = await self._stream.claim(self._partition.number, self._writing.generation, self.place().orders)
        self._writing.kept(at, tail)
        self.claimed_at = at
        self._partition.has_news = True

    def _say_again(self, position: int) -> None:
        """What stood there in the parked stream, or behind, is gone: who is told of there alone would be forgotten."""
        gone = [one for one in self.portals.values() if one.anchor is not None and one.anchor >= position]
        if gone:
            _log.error(
                "the parked stream has lost its end, as by a power cut: events that were parked last may be gone. "
                "They are in the topic as long as that keeps it: forebay replay",
                partition=self._partition.number,
                portals=len(gone),
            )
        for portal in gone:
            # Until it is, a new owner begins where we did.
            portal.anchor = FIRST
            self.changed(portal)
        if self.claimed_at >= position:
            self.claimed_at = min(self._began_at, position)

    def place(self) -> Place:
        """From where a new owner would have to read."""
        if not self.is_ready:
            return replace(self._place, generation=self._writing.generation)
        anchors = [one.anchor for one in self.portals.values() if one.anchor is not None]
        position = min(anchors, default=self._writing.tail)
        unsaved = (one.order for one in self.portals.values() if one.order is not None)
        # What waits no longer, but may come again, stands before our claim.
        is_ours = position >= self._began_at and not self._settled
        loads = [one.kept_first for one in self.portals.values() if one.kept_first is not None]
        return Place(
            generation=self._writing.generation,
            position=position if is_ours else self._place.position,
            in_force=self._writing.generation if is_ours else self._place.in_force,
            orders=min(unsaved, default=self.orders),
            end=self._writing.tail,
            needed=min(position, self.claimed_at, *loads) if is_ours else self._place.needed,
        )
