"""The way from the ingest into the queue: open from a worker's start to its end."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from forebay.queues.contract import Producer, Queue, Record
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.schemas import names

log = structlog.get_logger(__name__)

#: Between two attempts to make the streams.
_RETRY_S = 1.0


class Outlet:
    """Sends records, and knows whether the queue would take them. Used on one event loop."""

    def __init__(
        self, queue: Queue, *, topic: str, partitions: int, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self.topic = topic
        self.quarantine = names.quarantine(topic)
        self._queue = queue
        self._partitions = partitions
        self._sleep = sleep
        self._producer: Producer | None = None
        self._opening: asyncio.Task[None] | None = None
        self._why_not = "the queue is not open yet"

    async def open(self) -> None:
        """Make the producer, here in the worker since it may not cross a fork, and see to the streams meanwhile."""
        self._producer = self._queue.producer()
        self._opening = asyncio.create_task(self._make_streams())

    async def _make_streams(self) -> None:
        while True:
            try:
                made = await self._queue.ensure(names.streams(self.topic), self._partitions)
            except QueueError as error:
                self._why_not = str(error)
                log.warning("the queue can't be used yet", topic=self.topic, error=str(error))
                await self._sleep(_RETRY_S)
            else:
                self._why_not = ""
                log.info("the queue is open", topic=self.topic, made=made)
                return

    def send(self, stream: str, record: Record) -> Awaitable[object]:
        """Done once the record is kept; see `Producer.send` for what it raises.

        However long it takes: a record that may still be kept is never told as failed. (The spool's place.)
        """
        if self._producer is None:
            raise QueueUnavailable(self._why_not)
        return self._producer.send(stream, record)

    async def check(self) -> None:
        """Raise `QueueUnavailable`, with the reason, unless the queue would take a record now."""
        if self._producer is None or self._why_not:
            raise QueueUnavailable(self._why_not)
        await self._producer.check()

    async def close(self) -> None:
        """Let what is being sent come to its end, then let go of the queue. Idempotent."""
        if self._opening:
            self._opening.cancel()
        if self._producer:
            await self._producer.close()
        await self._queue.close()
