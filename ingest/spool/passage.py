"""The way of a record when there is a spool: the queue if it acknowledges in time, the spool otherwise."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial

from forebay.ingest.telling import Teller
from forebay.queues.contract import Producer, Record
from forebay.queues.errors import QueueError, RecordRefused

from .breaker import Breaker
from .crossing import Answer, Crossing
from .errors import SpoolUnavailable
from .handing import Tripped, hand_over
from .pace import Pace
from .spool import Spool

#: A call of a portal that has a backlog in a full spool waits so often, and so long each time, for the backlog to get
#: smaller while the queue takes it. Together about as long as Bitrix24 waits for an answer.
BACKLOG_LOOKS = 100
BACKLOG_LOOK_S = 0.05

#: A spool with so few records is empty soon, if portals let it: so often a call looks whether it can go by the queue.
_FEW_RECORDS = 256
_NEARLY_LOOK_S = 0.005

#: A loop that is so late has not read yet what the queue said meanwhile; so long it gets to do it.
_LATE_S = 0.02

#: Between two questions to the queue when the spool can't find out whether it is back.
_ASK_S = 1.0

_MS = 1000


class Passage:
    """Used on one event loop."""

    def __init__(
        self,
        producer: Producer,
        spool: Spool,
        breaker: Breaker,
        deadline_s: float,
        *,
        pace: Pace | None = None,
    ) -> None:
        self._producer, self._spool, self.breaker = producer, spool, breaker
        #: A record that has waited for the queue for so long is given up to the spool.
        self._deadline_s, self._pace = deadline_s, pace
        self._teller = Teller()
        self._holds = spool.counts.holds
        self._loop = asyncio.get_running_loop()
        #: What the queue has, and nobody else, oldest first.
        self._in_flight: dict[Crossing, None] = {}
        #: One timer for all of them, and when it is due.
        self._sweep: asyncio.TimerHandle | None = None
        self._look_due = 0.0
        self._asking: asyncio.Task[None] | None = None
        #: Whether the process ends; and whether the producer is closed without having told all: what it tells from then
        #: on may be wrong.
        self._is_closed = self._has_given_up = False

    def send(self, stream: str, record: Record) -> Awaitable[bool]:
        """To be awaited at once, until the record is kept: False by the queue, True by the spool.

        Raises `RecordRefused` when the queue never takes it, `QueueUnavailable` when it is surely kept nowhere.
        """
        if self.breaker.why and self.breaker.is_open:
            return self._spooled(stream, record)
        if self._holds(record.key):
            return self._spooled(stream, record)
        if self._pace is not None and not self._pace.takes(record.key):
            return self._held_back(stream, record)
        return self._sent(stream, record)

    def begin(self, stream: str, record: Record, answer: Answer) -> bool:
        """`send` of what the queue may have now, without anybody who awaits it: `answer` is told what became of it.

        False where it may have to wait: then nothing was done.
        """
        if self.breaker.why or self._holds(record.key) or not (self._pace is None or self._pace.takes(record.key)):
            return False
        self._give(stream, record, answer)
        return True

    async def _held_back(self, stream: str, record: Record) -> bool:
        if await self._put(stream, record):
            return await self._sent(stream, record)
        # From here on it is behind its own backlog, which is drained at the same pace.
        self._teller.warn("a portal sends faster than portal_rate: its events wait in the spool", portal=record.key)
        return True

    def _sent(self, stream: str, record: Record) -> "asyncio.Future[bool]":
        answer: asyncio.Future[bool] = self._loop.create_future()
        self._give(stream, record, answer)
        return answer

    def _give(self, stream: str, record: Record, answer: Answer) -> None:
        crossing = Crossing(self, stream, record, answer, self._loop.time())
        self._in_flight[crossing] = None
        if self._sweep is None:
            self._look_at(crossing.since + self._deadline_s)
        hand_over(self._producer, stream, record, crossing, self._teller)

    def delivered(self, crossing: Crossing) -> None:
        """The queue has the record."""
        if self.breaker.why:
            self.breaker.acknowledged(crossing.since)
        self._in_flight.pop(crossing, None)
        self._decide(crossing, is_gone=True)
        crossing.tell(False)

    def failed(self, crossing: Crossing, error: QueueError) -> None:
        """The queue surely has not got the record."""
        self._in_flight.pop(crossing, None)
        self._decide(crossing, is_gone=False)
        if isinstance(error, RecordRefused):
            # Where the spool has it already, its drain is refused like this, and sees to the quarantine.
            if crossing.seq is None:
                self._fail(crossing, error)
            return
        if crossing.seq is None:
            self._spool.put(crossing.stream, crossing.record, partial(self._kept, crossing, error))
        if not isinstance(error, Tripped):
            self.detour(str(error))

    def _kept(self, crossing: Crossing, error: QueueError, outcome: "int | SpoolUnavailable") -> None:
        if isinstance(outcome, int):
            crossing.tell(True)
        else:
            self._ask()
            self._fail(crossing, error)

    def _fail(self, crossing: Crossing, error: Exception) -> None:
        # Of one that was given up nobody knows: its call has no answer.
        if not self._has_given_up:
            crossing.fail(error)

    def _decide(self, crossing: Crossing, *, is_gone: bool) -> None:
        crossing.fate = is_gone
        if crossing.seq:
            self._spool.settle(crossing.seq, is_gone=is_gone)

    def _look(self) -> None:
        """Has the queue had the oldest for too long? A loop that was held up hears first what the queue has to say."""
        if self._loop.time() > self._look_due + _LATE_S:
            self._sweep = self._loop.call_later(_LATE_S, self._judge)
        else:
            self._judge()

    def _judge(self) -> None:
        self._sweep = None
        if self._in_flight and self._due() <= self._loop.time():
            self.detour(f"it did not acknowledge within {self._deadline_s * _MS:.0f} ms", is_late=True)
        if self._in_flight and self._sweep is None:
            self._look_at(self._due())

    def _due(self) -> float:
        return next(iter(self._in_flight)).since + self._deadline_s

    def _look_at(self, due: float) -> None:
        self._look_due = due
        self._sweep = self._loop.call_at(due, self._look)

    def detour(self, why: str, *, is_late: bool = False) -> None:
        """From now on the spool takes the events; those on their way too, which may still be delivered."""
        self.breaker.open(why, is_late=is_late)
        self.take_over()

    def take_over(self) -> None:
        """Put into the spool all that the queue has not decided about."""
        crossings, self._in_flight = list(self._in_flight), {}
        for crossing in crossings:
            crossing.seq = 0
            self._spool.put(crossing.stream, crossing.record, partial(self._taken_over, crossing), undecided=True)

    def _taken_over(self, crossing: Crossing, outcome: "int | SpoolUnavailable") -> None:
        """An undecided record is in the spool; or it is not, and then only the queue can still decide."""
        if isinstance(outcome, int):
            crossing.seq = outcome
            if crossing.fate is not None:
                self._spool.settle(outcome, is_gone=crossing.fate)
            return crossing.tell(True)
        crossing.seq = None
        self._ask()
        if crossing.fate is None:
            self._wait_on(crossing)
        elif not crossing.fate:
            self._fail(crossing, outcome)

    def _wait_on(self, crossing: Crossing) -> None:
        # Told as failed, it might be delivered all the same. The spool is asked again when it is due again.
        crossing.since = self._loop.time()
        self._in_flight[crossing] = None
        if self._sweep is None:
            self._look_at(crossing.since + self._deadline_s)

    async def _spooled(self, stream: str, record: Record) -> bool:
        if await self._backlog_ends(record.key):
            return await self._sent(stream, record)
        patience = BACKLOG_LOOKS
        while refusal := await self._put(stream, record):
            patience -= 1
            if self.breaker.is_trying or not patience:
                self._ask()
                try:
                    raise refusal
                finally:
                    # Its traceback knows this frame: it would wait for a garbage collection.
                    del refusal
            # The queue takes events, and the portal's backlog is on its way: never around it.
            await asyncio.sleep(BACKLOG_LOOK_S)
            if not self._holds(record.key):
                return await self._sent(stream, record)
        return True

    async def _backlog_ends(self, key: str) -> bool:
        """Whether the portal's backlog is gone in time for its next record, so that this one needs no spool.

        A portal that sends its next event sooner than the last one has left the spool would else never be out of it.
        """
        until = self._loop.time() + self._deadline_s
        while self._is_nearly_empty and self._loop.time() < until:
            await asyncio.sleep(_NEARLY_LOOK_S)
            if not self._holds(key):
                return not self.breaker.why
        return False

    @property
    def _is_nearly_empty(self) -> bool:
        """Of a spool whose records go to the queue, and at no portal's pace."""
        return self._pace is None and not self.breaker.why and self._spool.counts.records <= _FEW_RECORDS

    async def _put(self, stream: str, record: Record) -> SpoolUnavailable | None:
        outcome: asyncio.Future[int | SpoolUnavailable] = self._loop.create_future()
        self._spool.put(stream, record, lambda told: None if outcome.done() else outcome.set_result(told))
        told = await outcome
        return told if isinstance(told, SpoolUnavailable) else None

    def _ask(self) -> None:
        """Nothing is drained from a spool that takes nothing in the end; so ask the queue itself whether it is back."""
        if not self._is_closed and (self._asking is None or self._asking.done()):
            self._asking = self._loop.create_task(self._ask_until_it_is_back())

    async def _ask_until_it_is_back(self) -> None:
        while self.breaker.is_open:
            # Whatever the client fails by, the queue is not known to be back.
            with suppress(Exception):
                await self._producer.check()
                self.breaker.close()
            await asyncio.sleep(_ASK_S)

    def give_up(self) -> None:
        """The producer is closed in a hurry: what it still has may be delivered, though it says otherwise."""
        self._has_given_up = True

    def close(self) -> None:
        """Give the spool what the queue has not decided about. Reports are still taken. Idempotent."""
        self._is_closed = True
        self.take_over()
        if self._sweep is not None:
            self._sweep.cancel()
        if self._asking is not None:
            self._asking.cancel()
