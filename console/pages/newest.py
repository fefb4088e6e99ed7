"""The newest of many rows."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from heapq import heappush, heapreplace

from forebay.console.terminal.output import Row

from .page import MOST_ROWS

NO_TIME = "there was no time to read all, and newer ones may be missing: ask for one portal, or use the command"


@dataclass(slots=True)
class Newest:
    """Keeps as many as a page shows, and counts the others: there may be hundreds of thousands."""

    count: int = 0
    #: Said where there was no time for all of them; empty where those are all.
    note: str = ""
    _kept: list[tuple[datetime, int, Row]] = field(default_factory=list)

    def add(self, at: datetime, row: Callable[[], Row]) -> None:
        """One more, which is asked for only when it is kept; of two of one time the later one is newer."""
        self.count += 1
        if len(self._kept) < MOST_ROWS:
            heappush(self._kept, (at, self.count, row()))
        elif at >= self._kept[0][0]:
            heapreplace(self._kept, (at, self.count, row()))

    async def add_all(self, found: AsyncIterator[tuple[datetime, Row]], within_s: float) -> None:
        """All that there are, or as many as are found in that time."""
        try:
            async with asyncio.timeout(within_s):
                async for at, row in found:
                    self.add(at, partial(dict, row))
        except TimeoutError:
            self.note = NO_TIME

    @property
    def rows(self) -> list[Row]:
        """The newest first."""
        return [row for *_, row in sorted(self._kept, key=lambda one: one[:2], reverse=True)]
