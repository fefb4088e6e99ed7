"""The worker: records of a group's partitions become calls of handlers, and then commits.

One process has one worker: one consumer, one event loop, and a fixed number of slots that handle portals.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import fields
from typing import Any, TypeAlias, assert_never

import structlog
from prometheus_client import CollectorRegistry

from forebay.queues.contract import Queue, StoredRecord
from forebay.queues.errors import QueueError
from forebay.queues.registry.contract import Registry
from forebay.queues.registry.teacher import Teacher
from forebay.schemas import names
from forebay.schemas.codec import new_codec
from forebay.schemas.data_keys import PREFIX, WrappedKeys, named
from forebay.schemas.errors import UndecodableEvent, UnknownSchemaId
from forebay.schemas.event import PortalEvent

from .calls import Begun, Calls
from .commits import Commits
from .dead_letters import Burial, Circumstances, DeadLetters, dead_letter, error_class, error_text
from .errors import Discarded
from .handlers import Handler, Handlers
from .health import Health
from .held import Held
from .intake import Intake
from .lag import Lag
from .lanes import Lane, Lanes
from .learning import Learning
from .metrics import Tally, WorkerMetrics, build_metrics
from .outcome import DONE, UNHANDLED, Done, Failed, GivenUp, Outcome, Undecodable, Unlearned, Unprovable, Unread
from .ownership import Ownership, end
from .parking.attendant import Attendant
from .parking.restored import Restored
from .parking.state import Reason, Trouble
from .presence import Presence, since_boot
from .proving import Proving
from .quarantine import quarantined
from .reports import tell_dead, tell_fault, tell_outcome, tell_parked
from .retry import Draw, Finish, GiveUp, Park, RetryLimits, Try, WaitThenAgain, backoff_s, decide
from .settings import WorkerSettings
from .slots import Slots

_log = structlog.get_logger(__name__)

#: Asking the queue how long its logs are costs it a query.
_LAG_EVERY_S = 5.0

#: At a stop the queue may be gone: letting go of a part of it takes no longer than this.
_CLOSE_S = 5.0

#: How the name of a portal's own key begins, as it stands in a record; and how soon it is asked for again.
_KEY_NAME = PREFIX.encode()
_KEY_COMES_S = 0.1

#: For a try whose record is no longer the lane's: nobody waits for so long.
_DROPPED = 0.0

#: What comes next, with the letter when that is a dead one.
Following: TypeAlias = Finish | WaitThenAgain | Park | Burial


class Worker:
    """Use once: `await worker.run()`, until somebody calls `worker.stop()` on the same loop."""

    def __init__(
        self,
        settings: WorkerSettings,
        handlers: Handlers,
        queue: Queue,
        *,
        registry: Registry | None = None,
        data_keys: WrappedKeys | None = None,
        metrics: WorkerMetrics | None = None,
        clock: Callable[[], float] = time.monotonic,
        present: Callable[[], float] = since_boot,
        now: Callable[[], float] = time.time,
        draw: Draw = random.uniform,
    ) -> None:
        self._settings, self._handlers, self._now, self._draw = settings, handlers, now, draw
        self._limits = RetryLimits(**settings.model_dump(include={one.name for one in fields(RetryLimits)}))
        self.health = Health()
        self.metrics = metrics or build_metrics(CollectorRegistry())
        self._tally = Tally(self.metrics)
        self._codec, self._data_keys = new_codec(), data_keys
        teacher = Teacher(self._codec, registry, settings.topic) if registry else None
        self._learning = Learning(teacher, self.health, clock=clock, draw=draw) if teacher else None
        self._proving = (
            Proving(queue, settings.topic, self.health, now=now) if any(one.verified for one in handlers) else None
        )
        self._producer = queue.producer()
        self._consumer = queue.consumer(settings.topic, settings.group, session_s=settings.session_s)
        self._dead_letters = DeadLetters(self._producer, settings.topic, self.health)
        self._held = Held(settings.max_held_records, settings.max_held_bytes)
        lanes = Lanes()
        self._attendant = Attendant(
            settings, queue, self._producer, lanes, self._held, self.health, self.metrics, now=now
        )
        commits = Commits(self._consumer, queue.promises.note_bytes, self.health)
        self.ownership = Ownership(
            commits, self._held, self.metrics, grace_s=settings.drain_s, parking=self._attendant.parking
        )
        self._presence = Presence(settings.session_s, self.ownership.confirm, clock=present)
        self._calls = Calls(
            threads=settings.threads,
            deadline_s=settings.deadline_s,
            took=self._tally.took,
            may_begin=self._presence.certain,
            clock=clock,
        )
        self._slots = Slots(lanes, self._process, self._presence, clock=present)
        self._intake = Intake(
            settings, queue, self._consumer, self.ownership, lanes, self._held, self.health, clock=clock
        )
        self._lag = Lag(queue, settings.topic, self.ownership, self.metrics, now=now)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ask `run` to come to its end: nothing is fetched any more, running handlers get `drain_s`."""
        self._stopping.set()

    async def run(self) -> int:
        """Handle events until `stop`. Gives the number of handlers that would not end.

        Ends within `drain_s` and a second, or with a queue that hangs about ten more. Handlers that would not end keep
        the process from exiting: with a number above 0 leave it by `os._exit`. Raises what a part of the worker raised,
        which is a fault of Forebay or of the queue, never of a handler.
        """
        if self._proving:
            self._proving.open()
        reading = asyncio.create_task(self._intake.run())
        parts = [self._commit_regularly(), self._measure_regularly(), self._presence.run()]
        parts += [self._attendant.run(self.ownership)]
        parts += [self._learning.run()] if self._learning else []
        parts += [self._slots.run_one() for _ in range(self._settings.concurrency)]
        tasks = [reading, asyncio.create_task(self._stopping.wait()), *map(asyncio.create_task, parts)]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel([reading])
            await self._leave()
            left = await _cancel(tasks) + self._calls.close()
        for task in ended:
            task.result()
        return left

    async def _leave(self) -> None:
        self.health.failing("group", "stopping")
        self._slots.close()
        ours = list(self.ownership)
        for one in ours:
            one.close()
        await end(ours, self._settings.drain_s)
        self.ownership.leave()
        # Closing gives the partitions back, and with each goes what its parking has to say, and its last commit.
        await _let_go(self._consumer.close)
        parts = [self._producer.close, self._attendant.close, self._lag.close]
        parts += [self._proving.close] if self._proving else []
        await asyncio.gather(*map(_let_go, parts))

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._settings.commit_interval_s)
            self._tally.flush()
            await self.ownership.commit()
            self._lag.measure_age()
            self.metrics.held_records.set(self._held.records)
            self.metrics.poll_age.set(self._intake.poll_age_s)

    async def _measure_regularly(self) -> None:
        while True:
            await asyncio.sleep(_LAG_EVERY_S)
            await self._lag.measure_records()

    async def _process(self, lane: Lane, record: StoredRecord) -> float | None:
        """Decode → find its handler → call it → decide → act. None when it is finished, else the seconds to wait."""
        if lane.burial is not None:
            return await self._bury(lane, record, lane.burial)
        event = self._decode(record)
        handler = self._handlers.find(event.kind, event.name) if isinstance(event, PortalEvent) else None
        try:
            outcome = self._begin(handler, event, lane)
            if outcome is not DONE and isinstance(outcome, Coroutine):
                outcome = await outcome
            if outcome is DONE and handler is not None:
                # What nearly every event comes to: told, decided and done without looking further.
                self._tally.done(handler.name)
                self._finish(lane, record)
                return None
            if lane.partition.is_cancelled and not isinstance(outcome, Done):
                return _DROPPED
            self._tell(outcome, handler, event, lane)
            following = self._decide(outcome, handler, lane, record)
            if isinstance(outcome, Unprovable) and isinstance(event, PortalEvent):
                following = self._quarantine(outcome, event, record)
        except Exception as error:
            # A handler's error may break whoever looks at it, and one record must not end the worker.
            tell_fault(error, record)
            following = self._decide(Failed(error=error), handler, lane, record)
        return await self._act(following, lane, record)

    def _with_keys(self, event: PortalEvent, record: StoredRecord, keys: WrappedKeys) -> PortalEvent | Unlearned:
        # A new portal's first event is often here before its key is; it waits without a try. The name of the key stands
        # in the record as it is, so that not every event has to be read for it.
        whose = named(event.sealed.key_id) if _KEY_NAME in record.value and event.sealed else None
        if whose and keys.may_come(whose, event.received_at):
            return Unlearned(wait_s=_KEY_COMES_S)
        return event.with_keys_of(keys)

    def _decode(self, record: StoredRecord) -> PortalEvent | Unread:
        if isinstance(record, Restored) and record.discarded:
            return GivenUp(error=Discarded(record.discarded))
        try:
            event = self._codec.decode(record.value, record.headers)
            return event if self._data_keys is None else self._with_keys(event, record, self._data_keys)
        except UnknownSchemaId as error:
            return self._learning.outcome(error) if self._learning else Undecodable(error=error)
        except UndecodableEvent as error:
            return Undecodable(error=error)

    def _begin(self, handler: Handler | None, event: PortalEvent | Unread, lane: Lane) -> Begun:
        """The call of its handler, up to where that first waits."""
        if not isinstance(event, PortalEvent):
            return event
        if handler is None:
            return UNHANDLED
        if handler.verified and not event.subscription.verified:
            judged = self._proving.judge(event, lane.records[0]) if self._proving else event
            if not isinstance(judged, PortalEvent):
                return judged
        lane.attempts += 1
        return self._calls.begin(handler, event)

    def _tell(self, outcome: Outcome, handler: Handler | None, event: PortalEvent | Unread, lane: Lane) -> None:
        self._tally.tried(handler.name if handler else "", outcome.label)
        if handler is not None and isinstance(event, PortalEvent):
            tell_outcome(outcome, handler, event, lane.attempts)

    def _decide(self, outcome: Outcome, handler: Handler | None, lane: Lane, record: StoredRecord) -> Following:
        parking = lane.partition.parking
        this = Try(
            attempts=lane.attempts,
            tries=(handler and handler.tries) or self._settings.tries,
            waited_s=lane.waited_s,
            can_park=parking is not None and parking.can_park(lane.portal),
            give_up=(handler and handler.give_up) or self._settings.give_up,
        )
        following = decide(outcome, self._limits, this, draw=self._draw)
        return self._burial(following, lane, record, handler) if isinstance(following, GiveUp) else following

    async def _act(self, following: Following, lane: Lane, record: StoredRecord) -> float | None:
        match following:
            case Finish():
                self._finish(lane, record)
                return None
            case WaitThenAgain(delay_s=delay_s):
                lane.waited_s += 0 if following.asked else delay_s
                return delay_s
            case Park():
                self._park(lane, following)
                return _DROPPED
            case Burial():
                lane.burial = following
                return await self._bury(lane, record, following)
        assert_never(following)

    def _park(self, lane: Lane, following: Park) -> None:
        assert lane.partition.parking is not None, "nothing else decides so"  # noqa: S101 - for mypy
        trouble = Trouble(
            reason=Reason.HELD if following.delay_s is None else Reason.FAILING,
            attempts=lane.attempts,
            delay_s=following.delay_s,
            error=error_text(following.error),
            error_class=error_class(following.error),
        )
        tell_parked(lane, trouble)
        lane.partition.parking.park(lane, trouble)

    def _burial(self, why: GiveUp, lane: Lane, record: StoredRecord, handler: Handler | None) -> Burial:
        died = Circumstances(
            group=self._settings.group,
            handler=handler.name if handler else "",
            attempts=lane.attempts,
            error=why.error,
            at_ms=int(self._now() * 1000),
        )
        return Burial(reason=why.reason, letter=dead_letter(record, died))

    def _quarantine(self, why: Unprovable, event: PortalEvent, record: StoredRecord) -> Burial:
        letter = quarantined(event, record, why.error, int(self._now() * 1000))
        return Burial(reason=why.label, letter=letter, stream=names.quarantine(self._settings.topic))

    async def _bury(self, lane: Lane, record: StoredRecord, burial: Burial) -> float | None:
        """Write the dead letter; until that works, the record is not finished and its portal waits."""
        if not await self._dead_letters.put(burial):
            return backoff_s(burial.failures, self._limits, self._draw)
        if burial.stream:
            self._tally.quarantined(burial.reason)
            _log.warning("an event went to quarantine", portal=record.key, reason=burial.reason)
        else:
            self._tally.died(burial.reason)
            tell_dead(record, burial)
        self._finish(lane, record)
        return None

    def _finish(self, lane: Lane, record: StoredRecord) -> None:
        if lane.partition.is_gone:
            return
        if lane.partition.finish(record):
            self._held.remove(record)
        self._tally.finished(self._now() - record.timestamp_ms / 1000)


async def _cancel(tasks: list[asyncio.Task[Any]]) -> int:
    """Cancel them; gives the number of those that don't hear it."""
    for task in tasks:
        task.cancel()
    ended, deaf = await asyncio.wait(tasks, timeout=_CLOSE_S)
    for task in ended:
        if not task.cancelled() and task.exception() is not None:
            _log.error("a part of the worker failed", error=repr(task.exception()))
    return len(deaf)


async def _let_go(close: Callable[[], Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(_CLOSE_S):
            await close()
    except (TimeoutError, QueueError) as error:
        _log.warning("the queue was left without a goodbye", error=str(error) or "it doesn't answer")
