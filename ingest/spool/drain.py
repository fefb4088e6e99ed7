"""From the spool into the queue: one process of the host does it, in the order of each portal."""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from itertools import islice

from forebay.ingest.telling import Teller
from forebay.queues.contract import Producer
from forebay.queues.errors import QueueError, RecordRefused
from forebay.queues.tracing.contract import Tracer
from forebay.schemas.logger import get_logger

from .ahead import Ahead
from .breaker import Breaker
from .departure import Departure
from .file import RECORDS_A_FILE
from .handing import Tripped, hand_over
from .kept import Head, Kept
from .lanes import Lanes
from .owners import Owners
from .pace import Pace
from .pauses import Pauses
from .refusals import DAMAGED, quarantine_of
from .spool import Spool
from .window import Window

log = get_logger(__name__)

#: Between two looks at a spool in which nothing moves, and at the lock of the process that drains.
_LOOK_S = 0.1
_ELECT_S = 0.25

#: So many records are read and handed over at once: calls wait meanwhile, for the spool's thread and the event loop.
_PIECE = 128

#: Between two attempts to write where the spool took nothing, and where nothing is known to be wrong.
_TRY_S = 1.0
_LOOK_AT_DISK_S = 60.0

#: After an error of our own, or of the disk.
_AGAIN_S = 2.0


class Drain:
    """Used on one event loop. Waits for its turn, then sends for as long as the process lives."""

    def __init__(
        self,
        spool: Spool,
        producer: Producer,
        breaker: Breaker,
        *,
        quarantine: str,
        part_of: Callable[[str], Hashable],
        pace: Pace | None = None,
        tracer: Tracer | None = None,
        look_s: float = _LOOK_S,
    ) -> None:
        self._spool, self._producer, self._breaker = spool, producer, breaker
        self._quarantine, self._pace, self._look_s = quarantine, pace, look_s
        self._tracer, self._teller = tracer, Teller()
        self._owners, self._lanes = Owners(spool.folder), Lanes()
        self._ahead, self._has_begun = Ahead(spool, self._lanes, breaker, self._left), False
        self._undecided: dict[int, Head] = {}
        #: Whose portal has sent as much as it may for now; in the next step they are asked again.
        self._later: list[Head] = []
        self._window, self._gone = Window(part_of), list[Head]()
        #: What neither queue nor quarantine takes. It stays, and its neighbours go on.
        self._stuck: dict[int, Head] = {}
        self._clock = asyncio.get_running_loop().time
        self._pauses = Pauses(self._clock)
        self._moved = asyncio.Event()
        self._next_try, self._next_look = 0.0, self._clock() + _LOOK_AT_DISK_S
        self._running: asyncio.Task[None] | None = None
        self._is_stopping = False
        #: Records that have left the spool through this process.
        self.sent = 0

    def start(self) -> None:
        """Begin to wait for our turn."""
        self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                while not self._spool.folder.draining.take():
                    await self._spool.run(self._spool.store.let_go)
                    await asyncio.sleep(_ELECT_S)
                if not self._has_begun:
                    await self.begin()
                while True:
                    await self.step()
            except Exception as error:  # whatever it is: events wait here, and are to go on when it has passed
                log.error("the spool can't be drained just now", error=repr(error))
                await asyncio.sleep(_AGAIN_S)

    async def begin(self) -> None:
        """We have our turn, perhaps after another. Once, before the first step."""
        await self._spool.run(self._spool.store.inherit)
        self._has_begun = True

    async def step(self) -> None:
        """Send what can be sent, delete what has arrived, and wait until something moves."""
        self._moved.clear()
        await self._ahead.read_on()
        self._look_at_undecided()
        self._look_at_later()
        await self._send()
        await self._delete()
        await self._try_disk()
        await self._rest()

    def _left(self) -> list[Head]:
        return [*self._gone, *self._stuck.values()]

    def _look_at_undecided(self) -> None:
        oldest = self._lanes.oldest
        for owner in {head.owner for head in self._undecided.values() if head.owner}:
            self._owners.look(owner, oldest.seq if oldest else 0)
        for head in list(self._undecided.values()):
            is_gone = self._owners.is_gone(head.owner or "", head.seq)
            if is_gone is not None:
                del self._undecided[head.seq]
                self._leave(head) if is_gone else self._lanes.release(head)

    def _look_at_later(self) -> None:
        later, self._later = self._later, []
        for head in (*later, *self._window.freed()):
            self._lanes.release(head)

    def _may_go(self, portal: str) -> bool:
        if not self._pauses.is_over_for(portal):
            return False
        # Too many that wait would keep those of others from being read, or from having room.
        return self._pace is None or self._ahead.is_crowded or self._pace.takes(portal)

    def _chosen(self) -> list[Head]:
        """Whose turn it is, as far as the window allows."""
        now, is_trying = self._clock(), self._breaker.is_trying
        room = self._window.room(now, is_trying=is_trying) if self._pauses.is_over else 0
        chosen: list[Head] = []
        while len(chosen) < room and not self._window.is_full and (head := self._lanes.take()):
            if (is_gone := self._fate(head)) is None:
                self._lanes.hold(head)
                self._undecided[head.seq] = head
            elif is_gone:
                self._leave(head)
            elif self._window.keeps_waiting(head):
                self._lanes.hold(head)
            elif not self._may_go(head.key):
                self._lanes.hold(head)
                self._later.append(head)
            else:
                self._window.add(head, is_try=is_trying)
                chosen.append(head)
        return chosen

    def _fate(self, head: Head) -> bool | None:
        """Whether it was delivered by whoever sent it before it came into the spool; None while nobody knows."""
        return self._owners.is_gone(head.owner, head.seq) if head.owner else False

    async def _send(self) -> None:
        chosen = deque(self._chosen())
        if not chosen:
            return
        try:
            while chosen:
                seqs = [head.seq for head in islice(chosen, _PIECE)]
                kept = {one.seq: one for one in await self._spool.run(self._spool.store.load, seqs)}
                for _ in seqs:
                    head = chosen.popleft()
                    self._send_in_turn(head, kept.get(head.seq))
        except BaseException:
            for head in chosen:
                self._put_back(head)
            raise

    def _send_in_turn(self, head: Head, kept: Kept | None) -> None:
        if self._lanes.is_overtaking(head):
            self._put_back(head)
        elif kept is None:
            self._keep(head, "it can't be read any more")
        elif kept.is_whole:
            departure = Departure(self, head, kept, self._clock())
            hand_over(self._producer, kept.stream, kept.record, departure, self._teller)
        else:
            self._refuse(head, kept, DAMAGED, "its checksum is wrong: the disk has changed it")

    def _refuse(self, head: Head, kept: Kept, reason: str, detail: str) -> None:
        log.warning("a record of the spool goes to quarantine", portal=head.key, reason=reason, detail=detail)
        departure = Departure(self, head, kept, self._clock(), to_quarantine=True)
        hand_over(self._producer, self._quarantine, quarantine_of(kept, reason, detail), departure, self._teller)

    def arrived(self, departure: Departure) -> None:
        """The queue has the record."""
        if self._breaker.acknowledged(departure.since):
            self._spool.counts.count_acknowledged()
        self._pauses.queue_took()
        self._window.remove(departure.head)
        self._leave(departure.head)
        if self._tracer is not None:
            # A moment of its trace: its sending has long ended, when the spool had it.
            with self._tracer.sends(departure.kept.stream, departure.kept.record):
                pass

    def returned(self, departure: Departure, error: QueueError) -> None:
        """The queue surely has not got the record."""
        head = departure.head
        if isinstance(error, Tripped):
            self._pauses.client_failed(head.key)
            self._put_back(head)
        elif not isinstance(error, RecordRefused):
            self._breaker.open(str(error))
            self._pauses.queue_failed()
            self._put_back(head)
        elif departure.to_quarantine or departure.kept.stream == self._quarantine:
            self._keep(head, str(error))
        else:
            self._refuse(head, departure.kept, "refused_by_queue", str(error))

    def _put_back(self, head: Head) -> None:
        self._window.remove(head)
        self._lanes.again(head)

    def _leave(self, head: Head) -> None:
        self._gone.append(head)
        self.sent += 1
        self._moved.set()
        self._lanes.done(head)

    def _keep(self, head: Head, why: str) -> None:
        log.error("a record stays in the spool; its neighbours go on", portal=head.key, number=head.seq, reason=why)
        self._window.remove(head)
        self._stuck[head.seq] = head
        self._lanes.done(head)
        self._moved.set()

    async def _delete(self) -> None:
        gone, self._gone = self._gone, []
        if not gone:
            return
        deleting = asyncio.ensure_future(self._spool.delete(gone))
        try:
            await asyncio.wait([deleting])
            deleting.result()
        except BaseException:
            # Also who stops us waits for it: what stays in the spool is sent again.
            await asyncio.wait([deleting])
            if deleting.exception():
                # They are gone all the same, and would be sent twice.
                self._gone = gone + self._gone
            raise
        self._owners.forget(gone)
        oldest = self._lanes.oldest
        if oldest is None or oldest.seq // RECORDS_A_FILE > gone[0].seq // RECORDS_A_FILE:
            await self._spool.run(self._spool.store.tidy)

    async def _try_disk(self) -> None:
        now, was_well = self._clock(), not self._spool.why_not
        if now >= (self._next_look if was_well else self._next_try):
            self._next_try, self._next_look = now + _TRY_S, now + _LOOK_AT_DISK_S
            why_not = await self._spool.run(self._spool.store.try_disk)
            if why_not and was_well:
                log.error("the spool takes nothing: if the queue doesn't either, calls get 503", error=why_not)

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._look_s):
                await self._moved.wait()

    @property
    def left_alone(self) -> int:
        """How many records neither queue nor quarantine takes."""
        return len(self._stuck)

    def stop(self) -> None:
        """Send no more. What is under way may still arrive. Idempotent."""
        # Told twice it would no longer wait for what it deletes. `cancelling` says nothing: a timeout cancels, too.
        if self._running and not self._is_stopping:
            self._is_stopping = True
            self._running.cancel()

    async def close(self) -> None:
        """After the producer was closed: delete what has arrived, and let another process have its turn."""
        self.stop()
        if self._running:
            await asyncio.wait([self._running])
        with suppress(OSError, sqlite3.Error):
            await self._delete()
        self._spool.folder.draining.release()
