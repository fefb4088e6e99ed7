"""What is known of the spool's records before their turn comes."""

import asyncio
from collections.abc import Callable

from .breaker import Breaker
from .kept import Head
from .lanes import Lanes
from .spool import Spool

#: Of so many records the places are known ahead: some 20 MB.
_KNOWN = 50_000

#: So many are read at once. The calls that are just kept wait meanwhile, for the thread and then for the GIL.
_READ = 200

#: Of a large backlog so many such pieces in one step, some more than a step sends: each waits for a write of the spool,
#: and what is known already is not to wait for all of the rest.
_PIECES = 4

#: Between two looks at counts that tell of more than there is. While they tell of so many more records than are known,
#: it does no harm that they are too high.
_COUNT_S = 1.0
_FEW = 2000

#: Between two looks behind what is known though the counts tell of nothing there.
_ANYWAY_S = 5.0


class Ahead:
    """Reads the spool into the lanes, from its beginning to its end. Used on one event loop.

    `others` tells what is still in the spool, and in no lane any more.
    """

    def __init__(self, spool: Spool, lanes: Lanes, breaker: Breaker, others: Callable[[], list[Head]]) -> None:
        self._spool, self._lanes, self._breaker, self._others = spool, lanes, breaker, others
        self._read_to, self._next_look_at_counts, self._next_look = 0, 0.0, 0.0

    async def read_on(self) -> None:
        """Know some more, unless enough is known."""
        known = len(self._lanes) + len(self._others())
        for _ in range(_PIECES):
            if self._knows_enough or not (self._spool.counts.records > known or self._looks_anyway()):
                break
            heads = await self._spool.run(self._spool.store.heads, self._read_to, _READ)
            for head in heads:
                self._lanes.add(head)
            if heads:
                self._read_to = heads[-1].seq
                known += len(heads)
            if self._spool.counts.records < known:
                # Whoever asks them would send around what they do not tell of.
                await self._spool.run(self._spool.store.recount)
            if not heads:
                await self._look_at_counts(known)
                break
        held = (head.timestamp_ms for head in (self._lanes.oldest, *self._others()) if head)
        self._spool.counts.oldest_ms = min(held, default=0)

    def _looks_anyway(self) -> bool:
        """Whether it is time to look though the counts tell of nothing more.

        They may have been set by files that could not be read just then: what stands there would wait for a restart.
        """
        now = asyncio.get_running_loop().time()
        if now < self._next_look:
            return False
        self._next_look = now + _ANYWAY_S
        return True

    @property
    def _knows_enough(self) -> bool:
        # While the queue takes nothing, a few are tried: who has its turn then need not read all of the backlog for it.
        is_trying = self._breaker.is_trying and self._lanes.has_next
        return len(self._lanes) >= (_READ if is_trying else _KNOWN)

    async def _look_at_counts(self, known: int) -> None:
        """They may tell of more than there is: a record is just coming, or a process has died while it wrote."""
        now = asyncio.get_running_loop().time()
        if known < min(_FEW, self._spool.counts.records) and now >= self._next_look_at_counts:
            self._next_look_at_counts = now + _COUNT_S
            # Asked only now: while it was read, some have come to their ends.
            await self._spool.run(self._spool.store.set_right, [*self._lanes, *self._others()], self._read_to)

    @property
    def is_crowded(self) -> bool:
        """Whether much that waits would keep other records from being read, or from having room."""
        return len(self._lanes) > _KNOWN // 2 or self._spool.is_half_full
