"""From a call that was kept nowhere to the marker in its portal's order."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path

from forebay.ingest.authenticate import Sender
from forebay.ingest.metrics import IngestMetrics
from forebay.ingest.outlet import Outlet
from forebay.ingest.record import Receipt
from forebay.queues.errors import QueueError, RecordRefused
from forebay.schemas.codec import Codec
from forebay.schemas.logger import get_logger

from .book import Book, left_books, own_book
from .gap import Gap
from .marker import marker

log = get_logger(__name__)

#: Gaps of so many portals are noted by a process, some 40 MB. Of calls of others it is only counted how many they are.
_PORTALS = 100_000

#: Between two attempts to tell the portals that don't call again.
_AGAIN_S = 1.0

#: How often it is looked for what processes have left that ended beside us: those whose place we took while they still
#: finished calls.
_LEFT_S = 10.0

#: Of the loop, from what the queue has said to what becomes of a call, whose marker it may be about, and some more.
_TURNS = 10

#: So many markers are under way at once.
_WINDOW = 64


class Gaps:
    """Used on one event loop. Without a folder nothing outlives the process."""

    def __init__(
        self,
        folder: Path | None,
        outlet: Outlet,
        codec: Codec,
        metrics: IngestMetrics,
        *,
        most: int = _PORTALS,
        looks_every_s: float = _LEFT_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._folder, self._outlet, self._codec, self._metrics = folder, outlet, codec, metrics
        self._most, self._looks_every_s, self._sleep = most, looks_every_s, sleep
        self._book: Book | None = None
        self._gaps: dict[str, Gap] = {}
        #: Portal → the marker that is on its way.
        self._marking: dict[str, asyncio.Task[bool]] = {}
        self._noted = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None
        #: That what others have left can't be read.
        self._is_told = False

    def __len__(self) -> int:
        """How many portals are still to be told."""
        return len(self._gaps)

    def open(self) -> None:
        """Take over what processes before us have left, and begin to tell the portals."""
        if self._folder:
            self._book = own_book(self._folder)
            for gap in self._book.gaps if self._book else ():
                self._note(gap)
            self._adopt(self._folder)
        self._telling = asyncio.create_task(self._tell())

    def _adopt(self, folder: Path) -> None:
        try:
            for left in left_books(folder):
                for gap in left.gaps:
                    self._note(gap)
                if self._book:
                    left.drop()
                else:
                    left.close()
            self._is_told = False
        except OSError as error:
            if not self._is_told:
                log.error("gaps that another process has left can't be read", folder=str(folder), error=str(error))
            self._is_told = True

    def note(self, sender: Sender, receipt: Receipt) -> None:
        """A call of the portal is kept nowhere."""
        if sender.portal is None:
            return
        self._note(
            Gap(
                portal=sender.portal,
                member_id=sender.member_id,
                endpoint=receipt.endpoint,
                verified=sender.verified,
                from_ms=receipt.at_ms,
                to_ms=receipt.at_ms,
                calls=1,
            )
        )

    def _note(self, gap: Gap) -> None:
        known = self._gaps.get(gap.portal)
        if known is None and len(self._gaps) >= self._most:
            return self._leave_out(gap, f"gaps of {self._most} portals are noted already")
        self._write(known.with_others(gap) if known else gap)
        self._noted.set()

    def _leave_out(self, gap: Gap, why: str) -> None:
        log.error("a portal is not told of a gap", portal=gap.portal, calls=gap.calls, reason=why)
        self._metrics.gaps_unmarked.inc(gap.calls)

    def _write(self, gap: Gap) -> None:
        if gap.calls:
            self._gaps[gap.portal] = gap
        else:
            del self._gaps[gap.portal]
        self._metrics.gaps_waiting.set(len(self._gaps))
        try:
            if self._book:
                self._book.write(gap)
        except OSError as error:
            log.error("a gap is noted in memory only", portal=gap.portal, error=str(error))

    async def mark(self, portal: str | None) -> bool:
        """Return when the portal knows of its gap (True), or when it can't be told just now."""
        if portal is None or portal not in self._gaps:
            return True
        # One marker at a time: a second one would tell of the same calls.
        if portal not in self._marking:
            marking = self._marking[portal] = asyncio.create_task(self._mark(self._gaps[portal]))
            marking.add_done_callback(lambda done: self._marking.pop(portal, None))
        marking = self._marking[portal]
        # Whoever ends it, the call goes on, and without it.
        await asyncio.wait([marking])
        return not marking.cancelled() and marking.result()

    async def _mark(self, gap: Gap) -> bool:
        try:
            await self._outlet.send(self._outlet.topic, marker(gap, self._codec, time.time_ns()))
        except RecordRefused as error:
            self._leave_out(gap, str(error))
        except QueueError:
            return False
        except Exception as error:  # whatever it is: the event goes without it, and other portals are told
            log.error("a portal can't be told of a gap just now", portal=gap.portal, error=repr(error))
            return False
        else:
            log.warning("a portal is told of a gap", portal=gap.portal, calls=gap.calls)
            self._metrics.gaps.inc()
        # Calls that were refused meanwhile are another gap.
        self._write(self._gaps[gap.portal].without(gap))
        return True

    async def _tell(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._looks_every_s):
                    await self._noted.wait()
            # Without a book of our own, what is left stays where it is: it would be noted again and again.
            if self._folder and self._book:
                self._adopt(self._folder)
            # What refused an event just now refuses the marker too.
            await self._sleep(_AGAIN_S)
            # One asks for all: where nothing is taken, calls would wait behind dozens that are refused at once.
            while (portal := next(iter(self._gaps), None)) and await self.mark(portal):
                await asyncio.gather(*map(self.mark, list(islice(self._gaps, _WINDOW))))
            if portal in self._gaps:
                # Its part of the queue alone may be gone: the next time another one asks.
                self._gaps[portal] = self._gaps.pop(portal)
            if not self._gaps:
                self._noted.clear()

    def stop(self) -> None:
        """Begin to tell no more portals; what is on its way goes on, and gaps are noted, until `close`. Idempotent."""
        if self._telling:
            self._telling.cancel()

    async def close(self) -> None:
        """Note no more. Portals that were not told yet are told by the next process, where there is a folder."""
        self.stop()
        await _turns()
        # What the queue has not decided about is told again.
        for marking in self._marking.values():
            marking.cancel()
        await _turns()
        if self._book:
            self._book.close()
        elif self._gaps:
            log.error("gaps of portals are forgotten: they could not be written down", portals=len(self._gaps))


async def _turns() -> None:
    """Calls that ended with the queue, or whose marker did, are answered meanwhile, and noted."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
