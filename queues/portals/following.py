"""The book of a process, kept up to date with the store for as long as it runs."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.schemas.logger import get_logger

from .book import Book
from .contract import Fact, PortalStore

log = get_logger(__name__)

#: One wait for news. After each it is known whether the store is there.
_WAIT_S = 0.5

#: Between two attempts to read a store that is not there; it doubles from the first to the longest.
_FIRST_S = 0.25
_LONGEST_S = 5.0

#: Who has not heard of the store for so long may not know what other hosts know.
_OLD_S = 5.0

#: Facts that are learned between two turns of the event loop: about a millisecond.
_FACTS_A_TURN = 200


class Following:
    """Reads everything, and then whatever comes. Used on one event loop.

    When the store was away everything is read anew, into another book: it may be another store by then. Until that is
    read, the old one is asked.
    """

    def __init__(self, store: PortalStore) -> None:
        self._store = store
        self._following = 0
        self._heard = float("-inf")
        self._turned = asyncio.Event()
        self._has_tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.book = Book()
        #: Whether the book holds what stood in the store, now or at some time.
        self.was_read = False
        #: Why the store can't be read; empty when it can.
        self.why_not = "the portals are not read yet"

    @property
    def is_current(self) -> bool:
        """Whether what other hosts have written is known here, but for the last moments."""
        return not self.why_not and time.monotonic() - self._heard < _OLD_S

    def open(self) -> None:
        """Begin to read."""
        self._task = asyncio.create_task(self._follow())

    async def tried(self, timeout_s: float) -> None:
        """Return when everything is read, or can't be just now, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._has_tried.wait()

    async def _follow(self) -> None:
        pause_s = _FIRST_S
        while True:
            try:
                await self._read_on()
            except Exception as error:  # whatever it is: given up, nothing more would be learned until a restart
                why_not = str(error) if isinstance(error, QueueError) else repr(error)
                pause_s = _FIRST_S if not self.why_not else min(pause_s * 2, _LONGEST_S)
                if why_not != self.why_not:
                    log.warning("the portals can't be read; what is known so far holds", error=why_not)
                self.why_not = why_not
                self._has_tried.set()
            await asyncio.sleep(pause_s)

    async def _read_on(self) -> None:
        """Read until it fails. What is missing is made first, as the streams are."""
        await self._store.ensure()
        book, following, asked, end = Book(), 0, time.monotonic(), await self._store.end()
        if not end:
            # To read would be to wait for the first fact.
            self._know(book)
            self._hear(following)
        while True:
            chapter = await self._store.read(following, _WAIT_S)
            for at in range(0, len(chapter.facts), _FACTS_A_TURN):
                for fact in chapter.facts[at : at + _FACTS_A_TURN]:
                    book.apply(fact)
                await asyncio.sleep(0)
            following = chapter.following
            # While others write without a pause a reader never stands at the end: it is enough to know what stood there
            # a moment ago. Where there is much to read, more than a moment has passed meanwhile.
            if book is not self.book and following >= end and time.monotonic() - asked >= _OLD_S:
                asked, end = time.monotonic(), await self._store.end()
            if (chapter.is_end or following >= end) and book is not self.book:
                self._know(book)
            if book is self.book:
                self._hear(following)

    def _know(self, book: Book) -> None:
        self.book, self.was_read, self.why_not = book, True, ""
        self._has_tried.set()

    def _hear(self, following: int) -> None:
        self._following, self._heard = following, time.monotonic()
        turned, self._turned = self._turned, asyncio.Event()
        turned.set()

    async def put(self, facts: Sequence[Fact], timeout_s: float) -> Book:
        """Keep the facts, and return the book that knows them and all that was kept before them.

        Raises `QueueUnavailable`: then they may be kept all the same, or come to be.
        """
        return await self.reached(await self.keep(facts, timeout_s), timeout_s)

    async def keep(self, facts: Sequence[Fact], timeout_s: float) -> int:
        """Keep the facts; the place of the last one. Raises as `put` does."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._store.put(facts)
        except TimeoutError:
            raise QueueUnavailable(f"the store of portals took nothing for {timeout_s:g} s") from None

    async def reached(self, offset: int, timeout_s: float) -> Book:
        """The book once it holds the fact of that place. Raises `QueueUnavailable` when the time is over before."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.why_not or self._following <= offset:
                    await self._turned.wait()
        except TimeoutError:
            raise QueueUnavailable(self.why_not or f"the portals were not read within {timeout_s:g} s") from None
        return self.book

    async def refresh(self, timeout_s: float) -> Book:
        """The book with all that was kept before the call. Raises `QueueError`."""
        try:
            async with asyncio.timeout(timeout_s):
                end = await self._store.end()
        except TimeoutError:
            raise QueueUnavailable(f"the store of portals did not answer within {timeout_s:g} s") from None
        return await self.reached(end - 1, timeout_s)

    async def close(self) -> None:
        """Read no more. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
