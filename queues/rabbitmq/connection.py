"""A connection to RabbitMQ with channels, for one event loop."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.exceptions import AMQPError

from forebay.queues.errors import QueueUnavailable

from .address import Address
from .channel import Channel
from .faults import sentence
from .watching import Watching

#: Seconds until a node that doesn't let us in is called unavailable.
OPEN_S = 10.0

#: Seconds that a node has to answer our good-bye. One that takes nothing, by its alarm, does not hear it.
_CLOSE_S = 1.0

#: Seconds for a node to find a copy of any stream. One that took the place of another has none, and another may.
_COPY_S = 10.0

#: Seconds without a sign of life from the node, where nothing else is asked for.
HEARTBEAT_S = 10.0

#: What its errors say is in ours; its own lines would stand beside them without a reason.
logging.getLogger("pika").setLevel(logging.CRITICAL)

Lost = Callable[[QueueUnavailable], None]


class Connection:
    """One connection to the address's node, by that IP address. When it is lost it stays lost: make another."""

    def __init__(
        self,
        address: Address,
        part: str,
        heartbeat_s: float = HEARTBEAT_S,
        ip: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address, self._part, self._heartbeat_s, self._ip = address, part, heartbeat_s, ip
        self._clock, self._opened_at = clock, 0.0
        self._raw: Any = None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        self._channels = WeakSet[Channel]()
        self._has_copy = False
        #: Is told once when the connection is lost.
        self.on_lost: Lost = lambda error: None
        #: Is told when the node takes nothing any more.
        self.on_blocked: Callable[[], None] = lambda: None
        #: Why the node takes nothing just now: an alarm of its memory or disk.
        self.blocked: str | None = None
        #: The node's own properties, as its version.
        self.server: dict[str, Any] = {}
        #: How many channels it may have at the same time.
        self.most_channels = 0
        #: How large a message may be, in bytes, once the node has said so: its administrator may set it otherwise, and
        #: start it anew.
        self.largest: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it was opened, and nothing has ended it."""
        return self._raw is not None and bool(self._raw.is_open)

    async def open(self, patience_s: float = OPEN_S) -> "Connection":
        """Connect, within so many seconds. Raises `QueueUnavailable`."""
        try:
            parameters = self._parameters()
        except OSError as error:
            raise QueueUnavailable(f"{self._address.name}: {error.filename or ''} {error.strerror or error}") from error
        loop: Any = Watching(asyncio.get_running_loop())
        self._raw = AsyncioConnection(
            parameters, self._on_open, self._on_open_error, self._on_close, custom_ioloop=loop
        )
        try:
            async with asyncio.timeout(patience_s):
                # Not shielded: an error that comes later would be told as a mistake of ours.
                await asyncio.wait([self._opened])
            self._opened.result()
        except TimeoutError as error:
            await self._abandon()
            raise QueueUnavailable(f"{self._address.name} did not answer within {patience_s:.0f} s") from error
        except asyncio.CancelledError:
            await self._abandon()
            raise
        return self

    def _parameters(self) -> pika.ConnectionParameters:
        context, [node] = self._address.context(), self._address.nodes
        return pika.ConnectionParameters(
            host=self._ip or node.host,
            port=node.port,
            virtual_host=self._address.vhost,
            credentials=pika.PlainCredentials(self._address.user, self._address.password.now()),
            heartbeat=max(1, round(self._heartbeat_s)),
            ssl_options=pika.SSLOptions(context, node.host) if context else None,
            client_properties={"connection_name": f"forebay {self._part}", "product": "Forebay"},
        )

    async def _abandon(self) -> None:
        # Nobody waits for it any more, and an error that nobody has looked at would be told as a mistake of ours.
        self._opened.add_done_callback(lambda done: done.cancelled() or done.exception())
        transport = getattr(self._raw, "_transport", None)
        if transport is not None and not self._opened.done():
            # The library stumbles over `close` while it comes in, but not over a connection that breaks then.
            self._raw._error = ConnectionAbortedError("given up")
            transport.abort()
            await self._has_ended()
        await self.close()

    def _on_open(self, raw: Any) -> None:
        self._raw, self._opened_at = raw, self._clock()
        self.server = dict(raw.server_properties or {})
        self.most_channels = int(raw.params.channel_max)
        raw.add_on_connection_blocked_callback(self._on_blocked)
        raw.add_on_connection_unblocked_callback(self._on_unblocked)
        if not self._opened.done():
            self._opened.set_result(None)

    def _on_open_error(self, _: Any, error: BaseException) -> None:
        self._ended.set()
        if not self._opened.done():
            self._opened.set_exception(self._unavailable(error))

    def _on_close(self, _: Any, error: BaseException) -> None:
        self._ended.set()
        self.on_lost(self._unavailable(error))

    def _unavailable(self, error: BaseException) -> QueueUnavailable:
        unavailable = QueueUnavailable(f"{self._address.name}: {sentence(error)}")
        unavailable.__cause__ = error
        return unavailable

    def _on_blocked(self, _: Any, method: Any) -> None:
        self.blocked = str(method.method.reason)
        for channel in list(self._channels):
            channel.unanswered(self.refusal())
        self.on_blocked()

    def _on_unblocked(self, _: Any, method: Any) -> None:
        self.blocked = None

    def refusal(self) -> QueueUnavailable:
        """What is said while the node takes nothing: it hears nothing of us then, not even a question."""
        return QueueUnavailable(f"{self._address.name} takes nothing just now, by its alarm: {self.blocked}")

    def check(self) -> None:
        """Raise `QueueUnavailable` while the node takes nothing."""
        if self.blocked is not None:
            raise self.refusal()

    async def channel(self) -> Channel:
        """A new channel. Raises `QueueUnavailable`."""
        self.check()
        channel = Channel(self._address.name, self.check, self._looked)
        self._channels.add(channel)
        try:
            raw = self._raw.channel(on_open_callback=channel.opened)
        except AMQPError as error:
            raise self._unavailable(error) from error
        return await channel.begin(raw)

    def _looked(self, has_copy: bool) -> None:
        """End it where no stream can be read for long: who connects anew may come to another node."""
        self._has_copy = self._has_copy or has_copy
        if not self._has_copy and self._clock() - self._opened_at > _COPY_S and self.is_open:
            self._raw._terminate_stream(ConnectionAbortedError("the node has no copy of any stream"))

    async def close(self) -> None:
        """Say good-bye, and wait until it is over; cancelled, hang up. Idempotent."""
        self.on_lost = lambda error: None
        if self._raw is None or self._ended.is_set():
            return
        if not (self._raw.is_closing or self._raw.is_closed):
            self._raw.close()
        try:
            await self._has_ended()
        finally:
            if not self._ended.is_set():
                # The library has no other word for it: nobody answers our good-bye, or waits for that.
                self._raw._terminate_stream(ConnectionAbortedError("no good-bye came back"))
        await self._has_ended()

    async def _has_ended(self) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._ended.wait()
        return self._ended.is_set()
