"""Writes to many streams over one connection, and follows some. It connects again by itself as long as it must."""

import asyncio
import secrets
from contextlib import closing, suppress
from functools import partial
from itertools import count
from typing import Any

from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.telling import settle
from forebay.schemas.logger import get_logger

from .address import Address
from .channel import Channel
from .connection import HEARTBEAT_S, Connection
from .faults import NoCopy, NotThere
from .lane import Lane, Listener, Written
from .reaching import reach

#: Seconds between two tries to reach a node that is away.
_AGAIN_S = 0.25

#: A node ends the connection (541, internal error) of who writes to, or reads, a stream that another is just declaring.
_TRIES = 5

#: Seconds after which a node that doesn't confirm is called unavailable.
_CONFIRM_S = 5.0

#: Where what is published comes to nobody: only whether the node takes it is of interest.
_NOWHERE = "forebay:check"

log = get_logger(__name__)


class Writer:
    """Entries of a stream are kept in the order in which they were given."""

    def __init__(self, address: Address, part: str, heartbeat_s: float = HEARTBEAT_S) -> None:
        self.address, self._part, self._heartbeat_s = address, part, heartbeat_s
        self._id = secrets.token_bytes(8)
        #: Of entries: a lane that is made anew must not take one of before for its own.
        self._numbers = count(1)
        self._lanes: dict[str, Lane] = {}
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = self._is_over = False
        self._told = asyncio.Event()

    def add(self, queue: str, payload: bytes, written: Written, kind: type[Lane] = Lane) -> None:
        """Write it, by a lane of this kind. Raises `QueueUnavailable` where nothing is taken just now."""
        if self._is_closed:
            raise self._closed()
        if self._connection is not None:
            self._connection.check()
        lane = self._lane(queue, kind)
        lane.add(payload, written)
        if not lane.is_ready:
            self._open_soon()

    async def put(self, queue: str, payload: bytes) -> int:
        """Write it, and return where it stands. Raises `QueueUnavailable`, `NotThere`."""
        written: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.add(queue, payload, written)
        return await written

    async def follow(self, queue: str, listener: Listener) -> Lane:
        """Have all of a stream read to the listener, from its beginning, until `close`. Raises as `put` does."""
        for tries_left in reversed(range(_TRIES)):
            connection = await self.connection()
            try:
                return await self._follow(connection, queue, listener)
            except QueueUnavailable as error:
                is_being_made = isinstance(error, NoCopy) or not connection.is_open
                if not (is_being_made and tries_left):
                    raise
                await asyncio.sleep(_AGAIN_S)
        raise AssertionError("the last try returns or raises")

    async def _follow(self, connection: Connection, queue: str, listener: Listener) -> Lane:
        lane = self._new_lane(queue, listener)
        try:
            await lane.open(connection)
        except BaseException:
            # The listener is to hear nothing any more: it may be given to another lane.
            lane.close()
            raise
        self._lanes[queue] = lane
        return lane

    def _lane(self, queue: str, kind: type[Lane]) -> Lane:
        if queue not in self._lanes:
            self._lanes[queue] = self._new_lane(queue, None, kind)
        return self._lanes[queue]

    def _new_lane(self, queue: str, listener: Listener | None, kind: type[Lane] = Lane) -> Lane:
        return kind(queue, self._id, listener, numbers=self._numbers, lost=self._open_soon, told=self._told.set)

    async def connection(self) -> Connection:
        """The connection, made anew if it was lost. Raises `QueueUnavailable`."""
        async with self._connecting:
            self._check_open()
            if self._connection is None or not self._connection.is_open:
                connection = await reach(
                    self.address,
                    self._part,
                    self._heartbeat_s,
                    lost=lambda error: self._broken(),
                    blocked=self._told.set,
                )
                if self._is_over:
                    await connection.close()
                self._check_open()
                self._connection = connection
            return self._connection

    def _check_open(self) -> None:
        if self._is_over:
            raise self._closed()

    def _closed(self) -> QueueUnavailable:
        return QueueUnavailable(f"this part of {self.address.name} was closed")

    def _is_away(self) -> bool:
        connection = self._connection
        return connection is None or not connection.is_open or connection.blocked is not None

    def _broken(self) -> None:
        self._told.set()
        for lane in self._lanes.values():
            lane.is_ready = False
        self._open_soon()

    def _open_soon(self) -> None:
        if not self._is_over and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        while wanted := [lane for lane in self._lanes.values() if lane.is_wanted and not lane.is_ready]:
            try:
                connection = await self.connection()
                opened = await asyncio.gather(
                    *(self._open_lane(lane, connection) for lane in wanted), return_exceptions=True
                )
                for error in filter(None, opened):
                    raise error
            except Exception as error:
                if not isinstance(error, QueueError):
                    # A mistake of ours must not leave anybody waiting for ever.
                    log.exception("lanes_failed", queue=self.address.name)
                for lane in wanted:
                    lane.refuse(error if isinstance(error, QueueError) else QueueUnavailable(repr(error)))
                await asyncio.sleep(_AGAIN_S)

    async def _open_lane(self, lane: Lane, connection: Connection) -> None:
        try:
            await lane.open(connection)
        except NotThere as error:
            self._lanes.pop(lane.queue, None)
            lane.fail(error)

    async def make(self, queue: str, arguments: dict[str, Any], first: bytes | None = None) -> None:
        """Make the queue, unless it is there, and have this first in it. Raises `QueueUnavailable`, `QueueError`."""
        for tries_left in reversed(range(_TRIES)):
            connection = await self.connection()
            try:
                await self._make(connection, queue, arguments, first)
            except QueueUnavailable:
                if not tries_left:
                    raise
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    async def _make(self, connection: Connection, queue: str, arguments: dict[str, Any], first: bytes | None) -> None:
        with closing(await connection.channel()) as channel:
            await channel.declare(queue, arguments)
            if first is not None:
                await self._confirmed(channel, queue, first)

    async def has(self, queue: str) -> bool:
        """Whether the queue is there. Raises `QueueUnavailable`."""
        with closing(await (await self.connection()).channel()) as channel:
            try:
                await channel.find(queue)
            except NotThere:
                return False
        return True

    async def mark(self, queue: str, body: bytes) -> None:
        """Have this at the end of the queue, by itself: in no order with what was added. Raises `QueueUnavailable`."""
        with closing(await (await self.connection()).channel()) as channel:
            await self._confirmed(channel, queue, body)

    async def check(self, size: int = 0) -> None:
        """Raise `QueueUnavailable`, with the reason, unless the node would take an entry now.

        `QueueError` where it would never take one of so many bytes.
        """
        with closing(await (await self.connection()).channel()) as channel:
            await self._confirmed(channel, _NOWHERE, bytes(size), mandatory=False)
            # What comes first after an alarm is still taken, and only then it is told.
            await channel.prefetch(1)

    async def _confirmed(self, channel: Channel, queue: str, body: bytes, *, mandatory: bool = True) -> None:
        taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        await channel.confirm(partial(settle, taken))
        channel.on_closed = partial(settle, taken)
        channel.publish(queue, body, mandatory=mandatory)
        try:
            async with asyncio.timeout(_CONFIRM_S):
                is_taken = await taken
        except TimeoutError as error:
            if self._connection is not None:
                self._connection.check()
            raise QueueUnavailable(f"{self.address.name} confirmed nothing for {_CONFIRM_S:.0f} s") from error
        if not is_taken:
            raise QueueUnavailable(f"{self.address.name} does not take what is written to {queue}")

    async def close(self, *, hurried: bool = False) -> None:
        """Wait until all is told, then let go. Idempotent.

        Cancelled, it gives up what is unknown yet; and hurried, as soon as the node is away or takes nothing.
        """
        self._is_closed = True
        try:
            while any(not lane.is_idle for lane in self._lanes.values()) and not (hurried and self._is_away()):
                self._told.clear()
                await self._told.wait()
        finally:
            await self.end()

    async def end(self) -> None:
        """Let go, and give up what is unknown yet. Idempotent."""
        self._is_closed = self._is_over = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for lane in self._lanes.values():
            lane.fail(QueueUnavailable(f"this part of {self.address.name} was closed before it had an answer"))
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(QueueError):
                await connection.close()
