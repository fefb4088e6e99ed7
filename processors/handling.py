"""One try at a portal's first event, step by step: what it is, who handles it, how that ended, what follows."""

from collections.abc import Callable, Coroutine
from dataclasses import fields
from typing import TypeAlias, assert_never

from forebay.queues.contract import StoredRecord
from forebay.schemas.codec import Codec
from forebay.schemas.errors import UndecodableEvent, UnknownSchemaId
from forebay.schemas.event import PortalEvent

from .calls import Begun, Calls
from .dead_letters import Burial, Circumstances, DeadLetters, dead_letter, error_class, error_text
from .dedup.once import Once
from .errors import Discarded
from .handlers import Handler, Handlers
from .held import Held
from .lanes import Lane
from .learning import Learning
from .metrics import Tally
from .outcome import DONE, UNHANDLED, Done, Failed, GivenUp, Outcome, Undecodable, Unread, Unsure
from .parking.restored import Restored
from .parking.state import Reason, Trouble
from .reports import tell_dead, tell_fault, tell_outcome, tell_parked
from .retry import Draw, Finish, GiveUp, Park, RetryLimits, Try, WaitThenAgain, backoff_s, decide
from .settings import WorkerSettings

#: For a try whose record is no longer the lane's: nobody waits for so long.
_DROPPED = 0.0

#: What comes next, with the letter when that is a dead one.
Following: TypeAlias = Finish | WaitThenAgain | Park | Burial


class Handling:
    """Of one worker; slots call it for their lanes."""

    def __init__(
        self,
        settings: WorkerSettings,
        handlers: Handlers,
        codec: Codec,
        learning: Learning | None,
        calls: Calls,
        dead_letters: DeadLetters,
        held: Held,
        tally: Tally,
        *,
        once: Once | None = None,
        now: Callable[[], float],
        draw: Draw,
    ) -> None:
        self._settings, self._handlers, self._codec, self._learning = settings, handlers, codec, learning
        self._calls, self._dead_letters, self._held, self._tally = calls, dead_letters, held, tally
        self._once, self._now, self._draw = once, now, draw
        self._limits = RetryLimits(**settings.model_dump(include={one.name for one in fields(RetryLimits)}))

    async def process(self, lane: Lane, record: StoredRecord) -> float | None:
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
        except Exception as error:
            # A handler's error may break whoever looks at it, and one record must not end the worker.
            tell_fault(error, record)
            following = self._decide(Failed(error=error), handler, lane, record)
        return await self._act(following, lane, record)

    def _decode(self, record: StoredRecord) -> PortalEvent | Unread:
        if isinstance(record, Restored) and record.discarded:
            return GivenUp(error=Discarded(record.discarded))
        try:
            return self._codec.decode(record.value, record.headers)
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
        lane.attempts += 1
        if handler.options.dedup is not None and self._once is not None:
            return self._call_once(self._once, handler, event, lane)
        return self._calls.begin(handler, event)

    async def _call_once(self, once: Once, handler: Handler, event: PortalEvent, lane: Lane) -> Outcome:
        record = lane.records[0]
        ordered = isinstance(record, Restored) and record.replay is not None
        outcome = await once.call(handler, event, self._calls.begin, ordered=ordered)
        if isinstance(outcome, Unsure):
            # Nobody was called.
            lane.attempts -= 1
        return outcome

    def _tell(self, outcome: Outcome, handler: Handler | None, event: PortalEvent | Unread, lane: Lane) -> None:
        self._tally.tried(handler.name if handler else "", outcome.label)
        if handler is not None and isinstance(event, PortalEvent):
            tell_outcome(outcome, handler, event, lane.attempts)

    def _decide(self, outcome: Outcome, handler: Handler | None, lane: Lane, record: StoredRecord) -> Following:
        parking = lane.partition.parking
        this = Try(
            attempts=lane.attempts,
            tries=(handler and handler.options.tries) or self._settings.tries,
            waited_s=lane.waited_s,
            can_park=parking is not None and parking.can_park(lane.portal),
            give_up=(handler and handler.options.give_up) or self._settings.give_up,
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

    async def _bury(self, lane: Lane, record: StoredRecord, burial: Burial) -> float | None:
        """Write the dead letter; until that works, the record is not finished and its portal waits."""
        if not await self._dead_letters.put(burial):
            return backoff_s(burial.failures, self._limits, self._draw)
        self._tally.died(burial.reason)
        tell_dead(record, burial)
        self._finish(lane, record)
        return None

    def _finish(self, lane: Lane, record: StoredRecord) -> None:
        if lane.partition.is_gone:
            return
        lane.records.popleft()
        lane.start_anew()
        if lane.partition.finish(record):
            self._held.remove(record)
        self._tally.finished(self._now() - record.timestamp_ms / 1000)
