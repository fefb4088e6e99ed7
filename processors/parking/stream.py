"""The streams of parking, as the owners of partitions use them."""

import asyncio
from collections.abc import Callable, Collection

from forebay.processors.notes import needed_of
from forebay.queues.contract import Bounds, Inspector, Position, Producer, Record, StoredRecord
from forebay.queues.errors import QueueError
from forebay.queues.reading import BATCH_RECORDS, between
from forebay.schemas import names
from forebay.schemas.portal import partition_of

from . import entries, orders
from .ledger import Ledger
from .orders import Order
from .pace import Pace

#: So many records are spilled in one turn of the loop. More would hold it up for longer than others should wait, but
#: where their part of a turn takes long anyway: so many in a second of it take a third of the time.
_TURN_RECORDS = 50
_TURN_PER_S = 5000


class ParkedStream:
    """Reads and writes for one group; shared by all partitions of a worker."""

    def __init__(
        self, producer: Producer, inspector: Inspector, topic: str, group: str, *, now: Callable[[], float]
    ) -> None:
        self._producer, self._inspector, self._now = producer, inspector, now
        self.topic, self.group = topic, group
        self.name, self.audit = names.parked(topic), names.audit(topic)
        #: Of the records that are spilled.
        self.pace = Pace(_TURN_RECORDS, _TURN_PER_S)

    def now_ms(self) -> int:
        """The time."""
        return int(self._now() * 1000)

    async def partitions(self) -> int:
        """How many partitions the streams have."""
        return await self._inspector.partitions(self.name)

    async def write(self, record: Record) -> int:
        """Where it is kept now. Raises `QueueError`."""
        return (await self._producer.send(self.name, record)).offset

    def begin(self, record: Record) -> "asyncio.Future[Position]":
        """The same for one who writes several, which are kept in the order of the calls."""
        kept: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        try:
            self._producer.submit(self.name, record, kept)
        except QueueError as error:
            kept.set_exception(error)
        return kept

    async def claim(self, partition: int, generation: int, order: int) -> int:
        """Put the claim of a partition's new owner; where it stands."""
        partitions = await self.partitions()
        if partition >= partitions:
            # There is no key for it, however long one looks.
            raise self._uneven()
        claim = entries.claim(key_in(partition, partitions), (self.group, generation), order, self.now_ms())
        position = await self._producer.send(self.name, claim)
        if position.partition != partition:
            raise self._uneven()
        return position.offset

    def _uneven(self) -> QueueError:
        return QueueError(
            f"{self.name} has another number of partitions than {self.topic}, to which somebody may have added some; "
            "nothing of those is handled: look at `forebay doctor`"
        )

    async def read(self, stream: str, partition: int, position: int, count: int = BATCH_RECORDS) -> list[StoredRecord]:
        """The next records of one of the streams."""
        return await self._inspector.read(stream, partition, position, count)

    async def ends(self, stream: str, only: Collection[int]) -> dict[int, int]:
        """Each of these partitions → the next position of the stream there."""
        return {number: bounds.end for number, bounds in (await self._inspector.bounds(stream, only)).items()}

    async def bounds(self, only: Collection[int]) -> dict[int, Bounds]:
        """Each of these partitions → what of the parked stream is there."""
        return await self._inspector.bounds(self.name, only)

    async def needed(self, only: Collection[int]) -> dict[int, int]:
        """Each of these partitions → from where on in the parked stream any group may still read, by their commits."""
        groups = (await self._inspector.groups(self.topic)).values()
        return {
            number: min((needed_of(group[number].note) for group in groups if number in group), default=0)
            for number in only
        }

    async def read_into(self, ledger: Ledger, partition: int, start: int, end: int) -> None:
        """Let the ledger read the parked stream's entries between the positions."""
        async for record in between(self._inspector, self.name, partition, start, end):
            if (entry := entries.read(record, self.group)) is not None:
                ledger.read(entry)

    async def orders(self, partition: int, start: int, end: int) -> list[Order]:
        """The group's orders between the offsets."""
        found = [orders.read(record) async for record in between(self._inspector, self.audit, partition, start, end)]
        return [order for order in found if order is not None and order.group == self.group]

    async def order(self, partition: int, offset: int) -> Order | None:
        """One order."""
        found = await self._inspector.read(self.audit, partition, offset, 1)
        return orders.read(found[0]) if found and found[0].offset == offset else None


def key_in(partition: int, partitions: int) -> str:
    """A key whose records stand in that partition, which is one of so many."""
    number = 0
    while partition_of(f"forebay-{number}", partitions) != partition:
        number += 1
    return f"forebay-{number}"
