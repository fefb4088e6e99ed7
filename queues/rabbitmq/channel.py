"""A channel of a connection to RabbitMQ."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pika
from pika.exceptions import AMQPError

from forebay.queues.errors import QueueError

from .faults import NoCopy, fault


class Channel:
    """One channel. Its calls raise `QueueUnavailable`, or `NotThere` when the broker closes it for that reason."""

    def __init__(self, name: str, check: Callable[[], None], looked: Callable[[bool], None]) -> None:
        self._name, self._check, self._looked = name, check, looked
        self._raw: Any = None
        self._waiting: set[asyncio.Future[Any]] = set()
        self._acked = 0
        #: Is told once when it was closed by anybody but us.
        self.on_closed: Callable[[QueueError], None] = lambda error: None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def opened(self, raw: Any) -> None:
        """For the library: the node has opened it."""
        self._raw = raw
        if self._opened.done():
            # Nobody waits for it any more.
            raw.close()
        else:
            self._opened.set_result(None)

    async def begin(self, raw: Any) -> "Channel":
        """Wait until the node has opened it."""
        self._raw = raw
        raw.add_on_close_callback(self._closed)
        self._waiting.add(self._opened)
        await self._opened
        self._waiting.discard(self._opened)
        return self

    def unanswered(self, error: BaseException) -> None:
        """Nothing that was asked is answered any more, or not for long."""
        for future in self._waiting:
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()

    def _closed(self, _: Any, error: BaseException) -> None:
        self.unanswered(fault(self._name, error))
        self.on_closed(fault(self._name, error))

    async def _ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        self._check()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.add(answer)
        try:
            getattr(self._raw, method)(*arguments, **named, callback=partial(_settle, answer))
            return await answer
        except AMQPError as error:
            raise fault(self._name, error) from error
        finally:
            self._waiting.discard(answer)

    async def declare(self, queue: str, arguments: dict[str, Any]) -> None:
        """Make the queue, unless it is there already."""
        await self._ask("queue_declare", queue, durable=True, arguments=arguments)

    async def find(self, queue: str) -> int:
        """How many wait in the queue. Raises `NotThere` unless it is there; the channel is then closed."""
        return int((await self._ask("queue_declare", queue, passive=True)).method.message_count)

    async def prefetch(self, count: int) -> None:
        """How much of each later reader may be on its way. What was sent before the answer has come before it."""
        await self._ask("basic_qos", prefetch_count=count)

    async def confirm(self, told: Callable[[bool], None]) -> None:
        """Have the node tell of each publication, or of many at once, whether it was taken."""
        await self._ask("confirm_delivery", lambda frame: told(isinstance(frame.method, pika.spec.Basic.Ack)))

    async def confirm_each(self, told: Callable[[int, bool, bool], None]) -> None:
        """The same with more words: which publication, whether all before it too, and whether it was taken."""

        def heard(frame: Any) -> None:
            method = frame.method
            told(method.delivery_tag, method.multiple, isinstance(method, pika.spec.Basic.Ack))

        await self._ask("confirm_delivery", heard)

    async def take(self, queue: str, delivered: Callable[[int, bool, bytes], None]) -> None:
        """Take from the queue; is told the delivery's number, whether it was delivered before, and the body."""

        def told(_: Any, method: Any, properties: Any, body: bytes) -> None:
            delivered(method.delivery_tag, method.redelivered, body)

        await self._ask("basic_consume", queue, told, arguments=_PATIENT)

    async def consume(self, queue: str, offset: int | str, delivered: Callable[[int, int, bytes], None]) -> None:
        """Read the stream from there on; is told the delivery's number, its offset, and the body."""

        def told(_: Any, method: Any, properties: Any, body: bytes) -> None:
            delivered(method.delivery_tag, int(properties.headers["x-stream-offset"]), body)

        try:
            await self._ask("basic_consume", queue, told, arguments={"x-stream-offset": offset})
        except NoCopy:
            self._looked(False)
            raise
        self._looked(True)

    def on_cancelled(self, told: Callable[[], None]) -> None:
        """Be told when the node itself ends the reading: the stream is gone, or has moved."""
        self._raw.add_on_cancel_callback(lambda frame: told())

    def on_returned(self, told: Callable[[], None]) -> None:
        """Be told when something was published to a queue that is not there, or not just now."""
        self._raw.add_on_return_callback(lambda channel, method, properties, body: told())

    def ack(self, delivery: int) -> None:
        """All up to this delivery was taken, and more may come. Said twice, it is told once."""
        if delivery > self._acked and self._raw.is_open:
            self._acked = delivery
            self._raw.basic_ack(delivery, multiple=True)

    def reject(self, delivery: int) -> None:
        """It is for the queue's dead-letter exchange."""
        if self._raw.is_open:
            self._raw.basic_reject(delivery, requeue=False)

    def publish(self, queue: str, body: bytes, *, mandatory: bool = True) -> None:
        """Send it on its way; durable. Raises `QueueUnavailable`: then it is not on its way."""
        try:
            self._raw.basic_publish("", queue, body, _PERSISTENT, mandatory=mandatory)
        except AMQPError as error:
            raise fault(self._name, error) from error

    def close(self) -> None:
        """Let go of it. Idempotent.

        The library would cancel the readers one by one before. A quorum queue then serves the next one with what is
        new, and gives him what we have not acknowledged afterwards; without it that comes first, and in its order.
        """
        self.on_closed = lambda error: None
        if self._raw is not None and self._raw.is_open:
            self._raw._consumers.clear()
            self._raw.close()


#: How long the node is to wait for a reader's acknowledgements, in milliseconds. One of 4.3 or newer hears it; it would
#: give all that he has back to the queue, again and again, without a word of the reason.
_PATIENT = {"x-consumer-timeout": 24 * 3600 * 1000}

_PERSISTENT = pika.BasicProperties(delivery_mode=2)


def _settle(answer: asyncio.Future[Any], frame: Any = None) -> None:
    if not answer.done():
        answer.set_result(frame)
