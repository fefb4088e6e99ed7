"""The way from the ingest into the queue: open from a worker's start to its end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial

from forebay.queues.contract import Producer, Queue, Record
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.tracing.contract import Tracer
from forebay.schemas import names
from forebay.schemas.logger import get_logger
from forebay.schemas.portal import partition_of

from .spool.breaker import Breaker
from .spool.counts import Counts
from .spool.crossing import Answer
from .spool.drain import Drain
from .spool.pace import Pace
from .spool.passage import BACKLOG_LOOK_S, BACKLOG_LOOKS, Passage
from .spool.spool import Spool

log = get_logger(__name__)

#: Between two attempts to make the streams, or to open the spool.
_RETRY_S = 1.0

#: A start waits so long for the spool, in which a gigabyte is counted in some three seconds, or in twenty from a slow
#: disk. gunicorn gives up a worker whose start takes half a minute; so from then on events go without it.
_PATIENCE_S = 20.0

#: With `portal_rate`: what a portal may send at once is that of so many seconds; and out of the spool, where nothing
#: is sent more often than the spool is looked at.
_BURST_S = 10.0
_DRAIN_BURST_S = 0.5

#: At a stop, what was sent may be acknowledged for so long; then its place is the spool.
_FLUSH_S = 2.0


class Outlet:
    """Sends records, and knows whether they would be kept. Used on one event loop.

    Without a spool a record waits for the queue for as long as it takes.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        topic: str,
        partitions: int,
        spool: Spool | None = None,
        deadline_s: float = 0.2,
        portal_rate: float | None = None,
        tracer: Tracer | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.topic = topic
        self.quarantine = names.quarantine(topic)
        self.spool = spool
        self._queue = queue
        self._partitions = partitions
        self._deadline_s, self._portal_rate, self._tracer = deadline_s, portal_rate, tracer
        self._sleep = sleep
        self._producer: Producer | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._why_not = "the queue is not open yet"
        self._spool_why_not = "not open yet"
        #: What others have in the spool, while we can't open it.
        self._seen: Counts | None = None
        self._passage: Passage | None = None
        self._drain: Drain | None = None

    async def open(self) -> None:
        """Make the producer, here in the worker since it may not cross a fork, and see to the streams meanwhile."""
        self._producer = self._queue.producer()
        # First, so that a queue whose streams are not as they should be gets nothing of what is in the spool.
        self._tasks.append(asyncio.create_task(self._make_streams()))
        if self.spool:
            await self._begin_spool(self.spool, self._producer)

    async def _begin_spool(self, spool: Spool, producer: Producer) -> None:
        tried = asyncio.Event()
        self._tasks.append(asyncio.create_task(self._open_spool(spool, producer, tried)))
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await tried.wait()
        except TimeoutError:
            log.warning("the spool is large, and still being opened; meanwhile what the queue does not take gets 503")
            self._seen = spool.seen()

    async def _open_spool(self, spool: Spool, producer: Producer, tried: asyncio.Event) -> None:
        while not await self._opened(spool, producer):
            tried.set()
            await self._sleep(_RETRY_S)
        tried.set()

    async def _opened(self, spool: Spool, producer: Producer) -> bool:
        try:
            await spool.open()
        except Exception as error:  # whatever it is: without a spool events are taken all the same
            if (why_not := _words_of(error)) != self._spool_why_not:
                log.error("there is no spool: what the queue does not take gets 503", error=why_not)
                self._spool_why_not = why_not
            self._seen = spool.seen()
            return False
        self._spool_why_not = ""
        clock = asyncio.get_running_loop().time
        breaker = Breaker(lambda: spool.counts.acknowledged, self._deadline_s, clock, why=self._why_not)
        self._passage = Passage(producer, spool, breaker, self._deadline_s, pace=self._pace(_BURST_S))
        pace = self._pace(_DRAIN_BURST_S)
        self._drain = Drain(
            spool,
            producer,
            breaker,
            quarantine=self.quarantine,
            part_of=partial(partition_of, partitions=self._partitions),
            pace=pace,
            tracer=self._tracer,
        )
        self._drain.start()
        return True

    def _pace(self, burst_s: float) -> Pace | None:
        return Pace(self._portal_rate, self._portal_rate * burst_s) if self._portal_rate else None

    async def _make_streams(self) -> None:
        while True:
            try:
                made = await self._queue.ensure(names.streams(self.topic), self._partitions)
            except Exception as error:  # whatever it is: given up, the streams would be missed until a restart
                if (why_not := _words_of(error)) != self._why_not:
                    log.warning("the queue can't be used yet", topic=self.topic, error=why_not)
                    self._why_not = why_not
                await self._sleep(_RETRY_S)
            else:
                self._why_not = ""
                if self._passage:
                    self._passage.breaker.close()
                log.info("the queue is open", topic=self.topic, made=made)
                return

    def send(self, stream: str, record: Record) -> Awaitable[bool]:
        """To be awaited until the record is kept: False by the queue, True by the spool.

        Raises `RecordRefused` when the queue never takes it, `QueueUnavailable` when it is surely kept nowhere. A
        record that may still be kept is never told as failed.
        """
        if self._passage is not None:
            return self._passage.send(stream, record)
        return self._send_without_spool(stream, record)

    @property
    def is_straight(self) -> bool:
        """Whether records go to the queue, as far as it is known."""
        return self._passage is not None and not self._passage.breaker.why

    def begin(self, stream: str, record: Record, answer: Answer) -> bool:
        """`send` without anybody who awaits it; `answer` is told what `send` gives. False where the record may have to
        wait before the queue gets it: then nothing was done."""
        return self._passage is not None and self._passage.begin(stream, record, answer)

    async def _send_without_spool(self, stream: str, record: Record) -> bool:
        if self._producer is None:
            raise QueueUnavailable(self._why_not)
        for _ in range(BACKLOG_LOOKS):
            if self._seen is None or not self._seen.holds(record.key):
                await self._producer.send(stream, record)
                return False
            # Never around its backlog, which others may be draining; or the spool can be opened meanwhile.
            await self._sleep(BACKLOG_LOOK_S)
            if self._passage is not None:
                return await self._passage.send(stream, record)
        raise QueueUnavailable(f"the portal has events in the spool, which can't be opened: {self._spool_why_not}")

    async def check(self) -> None:
        """Raise `QueueUnavailable`, with the reason, unless the queue would take a record now."""
        if self._producer is None or self._why_not:
            raise QueueUnavailable(self._why_not)
        if self._passage and self._passage.breaker.is_open:
            raise QueueUnavailable(self._passage.breaker.why)
        await self._producer.check()

    @property
    def spool_state(self) -> str:
        """`ok`, or how much it holds; empty where there is none that would take an event."""
        if self.spool is None or self._passage is None or self.spool.why_not:
            return ""
        records = self.spool.counts.records
        return f"holds {records} events for the queue" if records else "ok"

    @property
    def spool_why_not(self) -> str:
        """Why the spool would take nothing."""
        return self._spool_why_not or (self.spool.why_not if self.spool else "")

    async def close(self) -> None:
        """Let what is being sent come to its end, in the queue or in the spool, then let go of both. Idempotent."""
        for task in self._tasks:
            task.cancel()
        if self._passage and self._drain:
            self._drain.stop()
            self._passage.close()
        # From the last to the first, whatever becomes of one of them.
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self._queue.close)
            if self.spool and self._drain:
                closing.push_async_callback(self.spool.close)
                closing.callback(self._pass_spool_by)
                closing.push_async_callback(self._drain.close)
            if self._producer:
                closing.push_async_callback(self._close_producer, self._producer)

    def _pass_spool_by(self) -> None:
        # A call that still comes is told by the producer that its event is kept nowhere.
        self._passage, self._spool_why_not = None, "the process ends"

    async def _close_producer(self, producer: Producer) -> None:
        if self._passage is None:
            return await producer.close()
        closing = asyncio.ensure_future(producer.close())
        await asyncio.wait([closing], timeout=_FLUSH_S)
        if not closing.done():
            # What the queue has not decided about by now is in the spool, or nobody knows where.
            self._passage.give_up()
            closing.cancel()
        with suppress(asyncio.CancelledError):
            await closing


def _words_of(error: Exception) -> str:
    """Ours say what to do; of others the kind is needed too."""
    return str(error) if isinstance(error, QueueError) else repr(error)
