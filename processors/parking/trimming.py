"""Has what stands in the parked stream deleted when no group needs it any more.

Each commit says from where on its group still reads: see `Place.needed`. So it doesn't matter who deletes, nor whether
he can write. What is left to decide is the queue's: how old a record must be.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from forebay.queues.contract import Bounds, Trims
from forebay.schemas.logger import get_logger

from .following import Parked
from .parking import Parking
from .stream import ParkedStream

_log = get_logger(__name__)

#: Between two looks.
_EVERY_S = 60.0

#: Between two stretches of deleting, so that others get on, too.
_PAUSE_S = 1.0

#: For so many records of a partition it is worth it.
_WORTH = 1_000


class Trimming:
    """Of all partitions of a worker. What it can't do now keeps nothing waiting, and is done later."""

    def __init__(self, queue: Trims, stream: ParkedStream, *, worth: int = _WORTH) -> None:
        self._queue, self._stream, self._worth = queue, stream, worth
        self._trouble = ""

    async def run(self, ours: Callable[[], Sequence[Parked]]) -> None:
        """Look at the partitions that are ours, again and again, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                await self.look({partition.number: parking for partition, parking in ours()})
                self._trouble = ""
            except Exception as error:
                # A fault, too: what is not deleted takes nothing but room.
                if str(error) != self._trouble:
                    _log.warning("what is done stays in the parked stream; trying again", error=repr(error))
                self._trouble = str(error)

    async def look(self, ours: Mapping[int, Parking]) -> None:
        """Once; by their partitions' numbers. Raises `QueueError`."""
        bounds = await self._stream.bounds(ours)
        while (before := await self._unneeded(bounds)) and await self._queue.trim(self._stream.name, before):
            await asyncio.sleep(_PAUSE_S)
            # What is needed is asked anew, too: a group may have been set back since.
            bounds = await self._stream.bounds(ours)
        # Last: a queue that is full takes nothing before something was deleted.
        for number, found in bounds.items():
            if ours[number].is_ready and found.end - ours[number].claimed_at >= self._worth:
                # Another group's records may have come since, and ours would seem to be needed up to there.
                await ours[number].claim_again()

    async def _unneeded(self, bounds: Mapping[int, Bounds]) -> dict[int, int]:
        """Each partition where it is worth it → before which position nobody needs anything."""
        starts = {number: found.start for number, found in bounds.items() if found.end - found.start >= self._worth}
        needed = await self._stream.needed(starts) if starts else {}
        return {number: end for number, end in needed.items() if end - starts[number] >= self._worth}
