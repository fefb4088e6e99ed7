"""What follows a try: it is decided, and then done. One place for every way in which handlers are called."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TypeAlias, assert_never

from forebay.queues.contract import StoredRecord
from forebay.queues.tracing.contract import Tracer
from forebay.schemas import names

from .dead_letters import Burial, Circumstances, DeadLetters, dead_letter
from .error_texts import error_class, error_text
from .handlers import Handler
from .held import Held
from .metrics import Tally
from .outcome import Outcome, Unprovable
from .parking.state import Reason, Trouble
from .partitions import Lane
from .quarantine import quarantined
from .reports import tell_dead, tell_parked, tell_quarantined
from .retry import Draw, Finish, GiveUp, Park, RetryLimits, Try, WaitThenAgain, backoff_s, decide
from .settings import WorkerSettings

#: For a try whose record is no longer the lane's: nobody waits for so long.
DROPPED = 0.0

#: What comes next, with the letter when that is a dead one.
Following: TypeAlias = Finish | WaitThenAgain | Park | Burial

#: Records that are finished together; the last of them is the event.
Records: TypeAlias = tuple[StoredRecord, ...]


class Consequences:
    """Of one worker. Where several records are finished together, the last of them is the event that was tried."""

    def __init__(
        self,
        settings: WorkerSettings,
        dead_letters: DeadLetters,
        held: Held,
        tally: Tally,
        *,
        now: Callable[[], float],
        draw: Draw,
        tracer: Tracer | None,
    ) -> None:
        self._settings, self._dead_letters, self._held, self._tally = settings, dead_letters, held, tally
        self._now, self._draw, self._tracer = now, draw, tracer
        self._limits = RetryLimits(**settings.model_dump(include={one.name for one in fields(RetryLimits)}))

    def backoff_s(self, failures: int) -> float:
        """How long to wait after so many failures."""
        return backoff_s(failures, self._limits, self._draw)

    def decide(self, outcome: Outcome, handler: Handler | None, lane: Lane, records: Records) -> Following:
        """What follows a try at the lane's first event, with which these records would be finished."""
        parking = lane.partition.parking
        this = Try(
            attempts=lane.attempts,
            tries=(handler and handler.options.tries) or self._settings.tries,
            waited_s=lane.waited_s,
            can_park=parking is not None and parking.can_park(lane.portal),
            give_up=(handler and handler.options.give_up) or self._settings.give_up,
        )
        following = decide(outcome, self._limits, this, draw=self._draw)
        if not isinstance(following, GiveUp):
            return following
        if isinstance(outcome, Unprovable):
            return self._quarantine(outcome, records)
        return self._burial(following, lane, records, handler)

    async def act(self, following: Following, lane: Lane, records: Records) -> float | None:
        """Do it. None when they are finished, else the seconds to wait."""
        match following:
            case Finish():
                self.finish_all(lane, records)
                return None
            case WaitThenAgain(delay_s=delay_s):
                lane.waited_s += 0 if following.asked else delay_s
                return delay_s
            case Park():
                self._park(lane, following, records)
                return DROPPED
            case Burial():
                lane.burial = following
                return await self.bury(lane, following)
        assert_never(following)

    def _park(self, lane: Lane, following: Park, records: Records) -> None:
        assert lane.partition.parking is not None, "nothing else decides so"  # noqa: S101 - for mypy
        trouble = Trouble(
            reason=Reason.HELD if following.delay_s is None else Reason.FAILING,
            attempts=lane.attempts,
            delay_s=following.delay_s,
            error=error_text(following.error),
            error_class=error_class(following.error),
        )
        tell_parked(trouble, records[-1])
        if self._tracer is not None:
            stream = names.parked(self._settings.topic)
            self._tracer.parks(stream, records[-1], lane.attempts, following.delay_s)
        lane.partition.parking.park(lane, trouble)

    def _burial(self, why: GiveUp, lane: Lane, records: Records, handler: Handler | None) -> Burial:
        died = Circumstances(
            group=self._settings.group,
            handler=handler.name if handler else "",
            attempts=lane.attempts,
            error=why.error,
            at_ms=int(self._now() * 1000),
        )
        return Burial(reason=why.reason, letter=dead_letter(records[-1], died), records=records)

    def _quarantine(self, why: Unprovable, records: Records) -> Burial:
        letter = quarantined(why.event, records[-1], why.error, int(self._now() * 1000))
        stream = names.quarantine(self._settings.topic)
        return Burial(reason=why.label, letter=letter, records=records, stream=stream)

    async def bury(self, lane: Lane, burial: Burial) -> float | None:
        """Write the dead letter; until that works, its records are not finished and their portal waits."""
        if not await self._dead_letters.put(burial, lambda: not lane.partition.is_gone):
            return self.backoff_s(burial.failures)
        self._tell(burial)
        self.finish_all(lane, burial.records)
        return None

    def _tell(self, burial: Burial) -> None:
        if burial.stream:
            self._tally.quarantined(burial.reason)
            tell_quarantined(burial.records[-1], burial)
        else:
            self._tally.died(burial.reason)
            tell_dead(burial.records[-1], burial)

    def finish_first(self, lane: Lane, count: int) -> None:
        """So many of the lane's first records are finished."""
        if lane.partition.is_gone:
            return
        if count > 1:
            self._finished_together(lane, [lane.records.popleft() for _ in range(count)])
        else:
            self._finished(lane, lane.records.popleft())

    def finish_all(self, lane: Lane, records: Sequence[StoredRecord]) -> None:
        """Records of the lane are finished together, the first of it among them."""
        if lane.partition.is_gone:
            return
        lane.leave(records)
        self._finished_together(lane, records)

    def _finished_together(self, lane: Lane, records: Sequence[StoredRecord]) -> None:
        """They have left the lane."""
        lane.start_anew()
        self._held.remove_all(lane.partition.finish_all(records))
        self._tally.finished_all([record.timestamp_ms for record in records], self._now())

    def _finished(self, lane: Lane, record: StoredRecord) -> None:
        """The same of one, in half the time."""
        lane.start_anew()
        if lane.partition.finish(record):
            self._held.remove(record)
        self._tally.finished(record.timestamp_ms, self._now())
