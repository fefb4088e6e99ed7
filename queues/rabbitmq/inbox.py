"""The records of the partitions that a consumer owns, on their way to it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial

from forebay.queues.contract import PlacedRecord, StoredRecord
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.groups.parts import turned
from forebay.schemas.logger import get_logger

from .address import Address
from .catalog import unknown
from .channel import Channel
from .connection import Connection
from .faults import NotThere
from .finding import at_place, bounds, is_shorter, way_to
from .logs import partition_log
from .places import Placed, placed
from .reaching import reach
from .records import record

#: Records of a partition that are here, or on their way, and were not fetched. A node may send some more at once.
_PREFETCH = 100

#: Bytes of values that one call gives out, the last record's aside: what waits here for room is the worker's otherwise.
_TAKE_BYTES = 8 * 1024 * 1024

#: Seconds between two tries to reach a node that is away.
_AGAIN_S = 0.25

#: Seconds between two looks whether partitions are read again.
_LOOK_EVERY_S = 0.05

#: What to do about it.
_SET_BACK = (
    "something else stands where it was read (a node's disk was put back): the group begins where it was then, and "
    "what it has handled since comes again; what came since is not there any more"
)

log = get_logger(__name__)


class _Partition:
    """One partition's reading."""

    def __init__(self, number: int, position: int) -> None:
        #: The partition's number, and the place of the next record.
        self.number, self.position = number, position
        #: The offset behind the last record that came.
        self.behind = position
        #: The last record that was fetched.
        self.last: PlacedRecord | None = None
        self.records: deque[tuple[int, PlacedRecord]] = deque()
        self.channel: Channel | None = None
        #: Deliveries: what came last, and what was fetched last and is to be acknowledged.
        self.came = self.fetched = 0


class Inbox:
    """Reads each owned partition from a position on, and again from where it was when the connection is lost."""

    def __init__(
        self,
        address: Address,
        stream: str,
        heartbeat_s: float,
        *,
        gap: Callable[[int, int, int], None],
        shorter: Callable[[int, int], None],
        set_back: Callable[[int], None],
        put: Callable[[str, bytes], Awaitable[None]],
    ) -> None:
        self._address, self._stream, self._heartbeat_s = address, stream, heartbeat_s
        #: Is told where no record stands: partition, start, end.
        self._gap = gap
        #: Is told that a partition ends before what was read of it, and where: what comes now has offsets of before.
        self._shorter = shorter
        #: Is told that something else stands where a partition was read.
        self._set_back = set_back
        #: Puts something into a partition's intake, and sees to it that it comes through.
        self._put = put
        self._partitions: dict[int, _Partition] = {}
        self._connection: Connection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._error: QueueError | None = None
        self._changed = asyncio.Event()
        self._turn = 0
        self.is_closed = False

    def assign(self, number: int, position: int) -> None:
        """Read this partition from there on."""
        self._partitions[number] = _Partition(number, position)
        self._open_soon()

    def drop(self, number: int) -> None:
        """Read it no more; what is here of it goes to nobody."""
        one = self._partitions.pop(number, None)
        if one is not None and one.channel is not None:
            one.channel.close()

    def _open_soon(self) -> None:
        if not self.is_closed and (self._opening is None or self._opening.done()):
            self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        while wanted := [one for one in self._partitions.values() if one.channel is None]:
            try:
                connection = await self._connected()
                opened = await asyncio.gather(*(self._read(one, connection) for one in wanted), return_exceptions=True)
                for error in filter(None, opened):
                    raise error
            except Exception as error:
                if not isinstance(error, QueueError):
                    # A mistake of ours must not end the reading without a word.
                    log.exception("reading_failed", stream=self._stream)
                self._error = self._told(error)
                self._changed.set()
                await asyncio.sleep(_AGAIN_S)

    def _told(self, error: Exception) -> QueueError:
        if isinstance(error, NotThere):
            return unknown(self._stream, error)
        return error if isinstance(error, QueueError) else QueueUnavailable(repr(error))

    async def _connected(self) -> Connection:
        if self._connection is None or not self._connection.is_open:
            self._connection = await reach(self._address, "consumer", self._heartbeat_s, lost=self._lost)
        return self._connection

    def _lost(self, error: QueueError) -> None:
        self._error = error
        self._changed.set()
        for one in self._partitions.values():
            self._break(one, one.channel)

    def _break(self, one: _Partition, channel: Channel | None) -> None:
        """Read it anew, from behind what was fetched: a delivery of before can't be acknowledged any more."""
        if channel is not None and one.channel is channel:
            if one.records:
                one.position = one.behind = one.records[0][1].offset
            one.records.clear()
            one.channel, one.came, one.fetched = None, 0, 0
            channel.close()
            self._open_soon()

    async def _read(self, one: _Partition, connection: Connection) -> None:
        queue = partition_log(self._stream, one.number)
        await self._check_place(one, connection, queue)
        if self._partitions.get(one.number) is not one:
            return
        channel = await connection.channel()
        channel.on_closed = lambda error: self._break(one, channel)
        channel.on_cancelled(partial(self._break, one, channel))
        await channel.prefetch(_PREFETCH)
        # Before the first record comes: it belongs to this channel.
        one.channel = channel
        if self._partitions.get(one.number) is not one:
            channel.close()
            return
        try:
            start = await way_to(connection, queue, one.position)
            await channel.consume(queue, start, partial(self._deliver, one, channel))
        except BaseException as error:
            if isinstance(error, QueueError) and self._partitions.get(one.number) is not one:
                return  # it was let go of meanwhile, and with it its channel
            self._break(one, channel)
            raise

    async def _check_place(self, one: _Partition, connection: Connection, queue: str) -> None:
        """Say so when what we are to read next is not there any more, or not yet again."""
        if one.position == 0:
            return
        kept = await bounds(connection, queue)
        place = {"stream": self._stream, "partition": one.number, "position": one.position}
        if one.position > kept.end:
            if not await is_shorter(connection, queue, one.position, partial(self._put, queue)):
                return
            log.error("stream_shorter", **place, end=kept.end)
            if self._partitions.get(one.number) is one:
                self._shorter(one.number, kept.end)
        elif one.position < kept.start:
            log.error("records_expired", **place, start=kept.start)
        elif (last := one.last) and last.offset >= kept.start and not await _still_has(connection, queue, last):
            log.error("set_back", **place, end=kept.end, error=_SET_BACK)
            if self._partitions.get(one.number) is one:
                self._set_back(one.number)

    def _deliver(self, one: _Partition, channel: Channel, delivery: int, at: int, body: bytes) -> None:
        if one.channel is not channel or self._partitions.get(one.number) is not one:
            return
        one.came = delivery
        found = placed(at, body)
        # What has a place before is a second copy.
        if found is not None and found.place >= one.position:
            one.position = found.place + 1
            self._read_entry(one, delivery, found)
        if not one.records:
            # What is no record is fetched by nobody.
            channel.ack(delivery)

    def _read_entry(self, one: _Partition, delivery: int, found: Placed) -> None:
        entry = record(self._stream, one.number, found.place, found.entry)
        if entry is None:
            # Without this, who waits for it would wait for ever.
            self._gap(one.number, one.behind, found.place + 1)
            return
        one.behind = found.place + 1
        one.records.append((delivery, entry))
        self._changed.set()

    def take(self, most: int) -> list[StoredRecord]:
        """Records that are here, of another partition first each time: a full one starves none."""
        if self.is_closed:
            return []
        found: list[StoredRecord] = []
        size = 0
        self._turn += 1
        for number in turned(sorted(number for number, one in self._partitions.items() if one.records), self._turn):
            one = self._partitions[number]
            while one.records and len(found) < most and size < _TAKE_BYTES:
                one.fetched, record = one.records.popleft()
                one.last = record
                found.append(record)
                size += len(record.value)
            if one.channel is not None:
                one.channel.ack(one.fetched if one.records else one.came)
        return found

    async def fetch(self, most: int, timeout_s: float, look: Callable[[], None]) -> list[StoredRecord]:
        """As in the contract; looks whether all is still ours before anything is given out."""
        found = self.take(most)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not found and not self.is_closed:
                    if self._error is not None:
                        error, self._error = self._error, None
                        raise error
                    self._changed.clear()
                    await self._changed.wait()
                    look()
                    found = self.take(most)
        return found

    async def begun_anew(self, numbers: Collection[int], timeout_s: float) -> set[int]:
        """Return when these partitions are read, if not before: what was read of them was looked at again then.

        Those that are read from another place since the call: what was finished of them then stands there no more.
        """
        before = {number: self._partitions.get(number) for number in numbers}
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while any(one.channel is None for one in self._partitions.values() if one.number in numbers):
                    await asyncio.sleep(_LOOK_EVERY_S)
        return {number for number, one in before.items() if self._partitions.get(number, one) is not one}

    def stop(self) -> None:
        """Give nothing out any more, and let nobody wait. Idempotent."""
        self.is_closed = True
        self._changed.set()

    async def close(self) -> None:
        """Read nothing any more. Idempotent."""
        self.stop()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        self._partitions.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def _still_has(connection: Connection, queue: str, last: PlacedRecord) -> bool:
    """Whether a record that was read, and is not too old, stands where it stood."""
    found = await at_place(connection, queue, last.offset)
    return found is not None and record(last.stream, last.partition, last.offset, found.entry) == last
