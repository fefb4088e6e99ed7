"""The newest of many rows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heappush, heapreplace

from forebay.console.terminal.output import Row

from .page import MOST_ROWS


@dataclass(slots=True)
class Newest:
    """Keeps as many as a page shows, and counts the others: there may be hundreds of thousands."""

    count: int = 0
    _kept: list[tuple[datetime, int, Row]] = field(default_factory=list)

    def add(self, at: datetime, row: Callable[[], Row]) -> None:
        """One more, which is asked for only when it is kept; of two of one time the later one is newer."""
        self.count += 1
        if len(self._kept) < MOST_ROWS:
            heappush(self._kept, (at, self.count, row()))
        elif at >= self._kept[0][0]:
            heapreplace(self._kept, (at, self.count, row()))

    @property
    def rows(self) -> list[Row]:
        """The newest first."""
        return [row for *_, row in sorted(self._kept, key=lambda one: one[:2], reverse=True)]
