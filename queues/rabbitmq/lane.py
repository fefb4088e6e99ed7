"""One stream that is written and followed: what we wrote is kept when we have read it back.

A confirm says that an entry was taken, and not where it stands; the stream itself says both. It also says, after a
lost connection, which of the entries whose fate is unknown are there.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from forebay.queues.errors import QueueError, QueueUnavailable, RecordRefused, anew
from forebay.queues.telling import Told, settle

from .channel import Channel
from .connection import Connection
from .faults import TOO_LARGE, NotThere
from .logs import entry, identity

#: Entries on their way to us.
_PREFETCH = 2000

#: Seconds to wait for the first entry. A stream of ours has one, so that it comes; one that is just being made may not.
_FIRST_S = 5.0

#: The same for an entry that we have read before. Without it all is read anew, which takes long.
_KNOWN_S = 30.0


#: Is told what became of an entry: the offset at which it is kept, or why it is not.
Written = Told[int]


class Listener(Protocol):
    """Follows a stream."""

    def read(self, offset: int, body: bytes) -> None:
        """The next entry."""

    def begin(self) -> None:
        """The stream is read from its beginning, perhaps again."""


@dataclass(slots=True)
class _Entry:
    payload: bytes
    written: Written
    is_published: bool = False


class Lane:
    """The way into one stream, and back."""

    def __init__(
        self,
        queue: str,
        writer: bytes,
        listener: Listener | None,
        *,
        numbers: Iterator[int],
        lost: Callable[[], None],
        told: Callable[[], None],
    ) -> None:
        #: What is followed, and what is written to.
        self.queue = self.target = queue
        self._writer, self._listener, self._numbers, self._lost, self._told = writer, listener, numbers, lost, told
        self._entries: dict[int, _Entry] = {}
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._received = self._delivery = 0
        #: The offset behind all that was read, and what stood before it.
        self.position: int | None = None
        self._last = b""
        self.is_ready = self._is_acking = self._is_broken = False
        #: Whether nothing has come since it was opened.
        self._is_new = True
        self._arrived = asyncio.Event()
        self._gone: NotThere | None = None
        #: Why the broker has closed the channel, where it passes: a right that lacks, as a rule.
        self._why: QueueUnavailable | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for it to be open."""
        return self._listener is not None or bool(self._entries)

    @property
    def is_gone(self) -> bool:
        """Whether the stream was deleted."""
        return self._gone is not None

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be told."""
        return not self._entries

    def add(self, payload: bytes, written: Written) -> None:
        """Write it behind all others, now or when the lane is open."""
        number = next(self._numbers)
        one = self._entries[number] = _Entry(payload, written)
        if self.is_ready:
            self._publish(number, one)

    def _publish(self, number: int, one: _Entry) -> None:
        assert self._channel is not None and self._connection is not None  # noqa: S101 - for mypy
        body, largest = self._body(number, one.payload), self._connection.largest
        if largest is not None and len(body) > largest:
            refusal = RecordRefused(f"{len(body)} bytes; the server takes {largest}, by its max_message_size")
            self._tell(number, refusal)
            return
        try:
            self._channel.publish(self.target, body)
        except QueueUnavailable:
            self._break()
        else:
            one.is_published = True

    def _body(self, number: int, payload: bytes) -> bytes:
        return entry(self._writer, number, payload)

    async def open(self, connection: Connection) -> None:
        """Read on where we were, then write what is not there. Raises `QueueUnavailable`, `NotThere`."""
        self.close()
        self._connection = connection
        channel = self._channel = await connection.channel()
        self._delivery, self._is_broken, self._is_new, self._why = 0, False, True, None
        self._arrived.clear()
        channel.on_closed = self._closed
        channel.on_cancelled(partial(self._ended, channel))
        # It may be gone, or only away: opening finds out which.
        channel.on_returned(partial(self._ended, channel))
        await self._find(channel)
        await channel.prefetch(_PREFETCH)
        await channel.confirm(partial(self._confirmed, channel))
        await channel.consume(self.queue, await self._start(connection), partial(self._deliver, channel))
        await self._first()
        await self._catch_up()
        await self._know(channel)
        if self._is_broken:
            raise self._out_of_reach()
        self.is_ready = True
        for number, one in list(self._entries.items()):
            self._publish(number, one)

    async def _find(self, channel: Channel) -> None:
        await channel.find(self.queue)

    async def _know(self, channel: Channel) -> None:
        """Return when all has been read that we had written before: here it has."""

    async def _start(self, connection: Connection) -> int | str:
        if self.position is not None:
            # One that we have read: it comes, and so do all behind it.
            return max(0, self.position - 1)
        if self._listener is not None:
            self._listener.begin()
        return "first" if self._listener is not None or self._has_unknown else "last"

    @property
    def _has_unknown(self) -> bool:
        """Whether something was on its way when a connection was lost."""
        return any(one.is_published for one in self._entries.values())

    async def _first(self) -> None:
        try:
            async with asyncio.timeout(_FIRST_S if self.position is None else _KNOWN_S):
                await self._arrived.wait()
        except TimeoutError as error:
            if self.position is not None:
                # It ends before what we have read: it was made anew, or has lost its end.
                self.position = None
                raise QueueUnavailable(f"{self.queue} ends before what was read of it; reading it anew") from error

    def check(self) -> None:
        """Raise `NotThere` when the stream was deleted."""
        if self._gone is not None:
            raise anew(self._gone)

    def _out_of_reach(self) -> QueueError:
        return anew(self._why or QueueUnavailable(f"{self.queue} is out of reach just now"))

    async def catch_up(self) -> None:
        """Return when all was read that stood there at the call. Raises `QueueUnavailable`, `NotThere`."""
        self.check()
        if not self.is_ready:
            # Its channel may be a new one, on which nothing is read yet.
            raise self._out_of_reach()
        await self._catch_up()

    async def _catch_up(self) -> None:
        received = -1
        while received != self._received:
            received = self._received
            if self._channel is None:
                raise self._out_of_reach()
            # Acknowledged, it lets more come; and what goes before an answer has arrived before it.
            self._channel.ack(self._delivery)
            await self._channel.prefetch(_PREFETCH)

    def _deliver(self, channel: Channel, delivery: int, offset: int, body: bytes) -> None:
        if channel is not self._channel:
            return
        is_first, self._is_new = self._is_new, False
        self._received += 1
        self._delivery = delivery
        self._arrived.set()
        if not self._is_acking:
            # Once for all that comes in this turn; what nobody acknowledges for long would cost us the channel.
            self._is_acking = True
            asyncio.get_running_loop().call_soon(self._ack)
        if self.position is not None and offset < self.position:
            if offset == self.position - 1 and body != self._last:
                # Others have written there since it lost its end, or was made anew.
                self._begin_anew()
            return
        if is_first and self.position is not None and self._listener is not None:
            # What was read last did not come again: it was cut off meanwhile, and perhaps more behind it.
            self._listener.begin()
        self.position, self._last = offset + 1, body
        self._read(offset, body)

    def _begin_anew(self) -> None:
        # What else comes on this channel is none of what was read.
        self.close()
        self.position = None
        self._why = QueueUnavailable(f"{self.queue} has something else where it was read; reading it anew")
        self._break()

    def _read(self, offset: int, body: bytes) -> None:
        if self._listener is not None:
            self._listener.read(offset, body)
        found = identity(body)
        if found is not None and found.writer == self._writer:
            self._tell(found.number, offset)

    def _ack(self) -> None:
        self._is_acking = False
        if self._channel is not None:
            self._channel.ack(self._delivery)

    def _tell(self, number: int, outcome: int | QueueError) -> None:
        one = self._entries.pop(number, None)
        if one is not None:
            settle(one.written, outcome)
        self._told()

    def _confirmed(self, channel: Channel, is_taken: bool) -> None:
        if not is_taken:
            self._ended(channel)

    def _ended(self, channel: Channel) -> None:
        # What an earlier channel still says is about what was written again since.
        if channel is self._channel:
            self._break()

    def _closed(self, error: BaseException) -> None:
        if self._connection is not None and (found := TOO_LARGE.search(str(error))):
            self._connection.largest = int(found[1])
        if isinstance(error, QueueUnavailable):
            self._why = error
        self._break()

    def _break(self) -> None:
        """Begin anew: what was written may be kept or not."""
        self.is_ready, self._is_broken = False, True
        # Who waits for the first entry waits in vain.
        self._arrived.set()
        self._lost()

    def refuse(self, error: QueueError) -> None:
        """What was never on its way is surely not kept."""
        for number in [number for number, one in self._entries.items() if not one.is_published]:
            self._tell(number, anew(error))

    def fail(self, error: QueueError) -> None:
        """Nothing is kept, or nobody waits to hear it."""
        self.is_ready = False
        self._gone = error if isinstance(error, NotThere) else None
        for number in list(self._entries):
            self._tell(number, anew(error))

    def close(self) -> None:
        """Read no more, until it is opened again."""
        self.is_ready = False
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
