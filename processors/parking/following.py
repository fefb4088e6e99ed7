"""Follows what operators order about the partitions of a worker."""

from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

from forebay.processors.partitions import Partition
from forebay.queues.errors import QueueError
from forebay.schemas.logger import get_logger

from .parking import Parking
from .stream import ParkedStream

_log = get_logger(__name__)

#: A partition, and its parking.
Parked = tuple[Partition, Parking]


class Following:
    """Looks for orders about many partitions by one question.

    A part of the queue may be away while the others answer, and such a question waits for all of them. So partitions
    about which nothing was told are asked about one by one, until something is, and keep no other waiting.
    """

    def __init__(self, stream: ParkedStream) -> None:
        self._stream = stream
        #: About these a question is under way, and about these the last one failed.
        self._asked: set[int] = set()
        self._apart: set[int] = set()

    @property
    def trouble(self) -> str:
        """What can't be followed just now; empty while all is well."""
        which = ", ".join(map(str, sorted(self._apart)))
        return f"operators' orders about partitions {which} can't be read; trying again" if which else ""

    def looks(self, ours: Sequence[Parked]) -> Iterator[Coroutine[Any, Any, None]]:
        """What to run beside each other, for all partitions about which no former look is still under way."""
        numbers = {partition.number for partition, _ in ours}
        self._apart &= numbers | self._asked
        free = [one for one in ours if one[0].number not in self._asked]
        together = [one for one in free if one[0].number not in self._apart]
        for some in (together, *([one] for one in free if one[0].number in self._apart)):
            if some:
                self._asked |= {partition.number for partition, _ in some}
                yield self._look(some)

    async def _look(self, some: Sequence[Parked]) -> None:
        numbers = {partition.number for partition, _ in some}
        try:
            await self._follow(some)
        except QueueError as error:
            if numbers - self._apart:
                _log.warning("operators' orders can't be read; trying again", error=str(error))
            self._apart |= numbers
        else:
            self._apart -= numbers
        finally:
            self._asked -= numbers

    async def _follow(self, some: Sequence[Parked]) -> None:
        ends = await self._stream.ends(self._stream.audit, [partition.number for partition, _ in some])
        for partition, parking in some:
            end = ends.get(partition.number, 0)
            if not parking.is_ready or end <= parking.orders:
                continue
            found = await self._stream.orders(partition.number, parking.orders, end)
            if partition.is_open:
                parking.orders = end
                # Also where there is nothing to do: who ordered sees by the commit that it was read.
                partition.has_news = True
                for order in found:
                    parking.obey(order)
