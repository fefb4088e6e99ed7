"""The writing side."""

import asyncio

from forebay.queues.contract import Delivery, Position, Producer, Record
from forebay.queues.errors import QueueError, QueueUnavailable, anew
from forebay.queues.telling import settle
from forebay.schemas.portal import partition_of

from .address import Address
from .catalog import Catalog, unknown
from .faults import NotThere
from .logs import partition_log
from .partition_lane import PartitionLane
from .records import packed
from .sequencing import Sequencing
from .writer import Writer


class _Placing:
    """Makes a position of an offset."""

    __slots__ = ("_delivery", "_partition", "_sequencing", "_stream")

    def __init__(self, stream: str, partition: int, delivery: Delivery, sequencing: Sequencing) -> None:
        self._stream, self._partition, self._delivery, self._sequencing = stream, partition, delivery, sequencing

    def done(self) -> bool:
        return self._delivery.done()

    def set_result(self, offset: int, /) -> None:
        self._delivery.set_result(Position(partition=self._partition, offset=offset))

    def set_exception(self, error: QueueError, /) -> None:
        if isinstance(error, NotThere):
            self._sequencing.detach(partition_log(self._stream, self._partition))
            error = unknown(self._stream, error)
        self._delivery.set_exception(error)


class RabbitmqProducer(Producer):
    """Records of a stream whose partitions are not known yet wait for them, in their order.

    A record has at most 16 MiB, or what the server's `max_message_size` says.
    """

    def __init__(self, address: Address) -> None:
        self._writer = Writer(address, "producer")
        self._catalog = Catalog(self._writer)
        self._sequencing = Sequencing(address)
        self._waiting: dict[str, list[tuple[Record, bytes, Delivery]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        """As in the contract."""
        if self._is_closed:
            raise QueueUnavailable("this producer was closed")
        payload = packed(record)
        partitions = self._catalog.known(stream)
        if partitions is not None and stream not in self._waiting:
            self._add(stream, partitions, record, payload, delivery)
            return
        is_first = stream not in self._waiting
        self._waiting.setdefault(stream, []).append((record, payload, delivery))
        if is_first:
            task = asyncio.get_running_loop().create_task(self._find(stream))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _add(self, stream: str, partitions: int, record: Record, payload: bytes, delivery: Delivery) -> None:
        partition = partition_of(record.key, partitions)
        log = partition_log(stream, partition)
        self._sequencing.attach(log)
        self._writer.add(log, payload, _Placing(stream, partition, delivery, self._sequencing), PartitionLane)

    async def _find(self, stream: str) -> None:
        try:
            partitions = await self._catalog.partitions(stream)
        except Exception as error:  # whatever it is: who waits for it would wait for ever, and so would all that follow
            self._refuse(stream, error if isinstance(error, QueueError) else QueueUnavailable(repr(error)))
            return
        for record, payload, delivery in self._waiting.pop(stream):
            try:
                self._add(stream, partitions, record, payload, delivery)
            except QueueError as error:
                settle(delivery, error)

    def _refuse(self, stream: str, error: QueueError) -> None:
        for _, _, delivery in self._waiting.pop(stream):
            settle(delivery, anew(error))

    async def check(self) -> None:
        """As in the contract: the node confirms a message that goes nowhere."""
        await self._writer.check()

    async def close(self) -> None:
        """As in the contract; cancelled, it gives up what the broker has not decided yet."""
        self._is_closed = True
        try:
            if self._tasks:
                await asyncio.wait(self._tasks)
            # What was written is told when it has come through.
            await self._writer.close()
        finally:
            await self._end()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for stream in list(self._waiting):
            self._refuse(stream, QueueUnavailable("this producer was closed before the partitions were found"))
        await self._writer.end()
        await self._sequencing.close()
