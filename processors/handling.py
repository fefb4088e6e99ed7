"""One try at a portal's first event, step by step: what it is, who handles it, how that ended, what follows."""

from collections.abc import Coroutine
from itertools import islice
from typing import Any

from forebay.queues.contract import StoredRecord
from forebay.schemas.event import PortalEvent

from .calls import Begun, ended
from .consequences import DROPPED, Consequences
from .errors import ProcessDied
from .handlers import Handler
from .metrics import NOBODY, Tally
from .outcome import DONE, UNHANDLED, Done, Failed, Outcome, Unread, Unsure, faulty
from .partitions import Lane
from .reading import Bulk, Reading
from .reports import tell_fault, tell_outcome
from .together import Together
from .tries import Tries
from .turn import Turn


class Handling:
    """Of one worker; slots call it for their lanes."""

    def __init__(
        self,
        reading: Reading,
        tries: Tries,
        consequences: Consequences,
        together: Together,
        tally: Tally,
    ) -> None:
        self._read, self._try, self._then = reading.read, tries.begin, consequences
        self._together, self._tally = together, tally

    def process(self, lane: Lane, turn: Turn) -> Coroutine[Any, Any, float | None] | None:
        """Decode → find its handler → call it → decide → act: for one event after the other, as long as each is done at
        once and the turn goes on. Gives what is to be awaited for the first that isn't.

        Nothing else runs meanwhile, so nobody sees that they are finished in one step, and before that is awaited.
        """
        if lane.burial is not None:
            return self._then.bury(lane, lane.burial)
        if turn.care is not None and turn.care.given_up is not None and lane.records:
            return self._give_up(lane, turn.care.given_up)
        if lane.bulk is None and len(lane.records) > 1:
            lane.bulk = Bulk()
        done: list[str] = []
        try:
            return self._go_through(lane, turn, done)
        finally:
            if done:
                turn.left -= len(done)
                self._tally.done_all(done)
                self._then.finish_first(lane, len(done))

    def _go_through(self, lane: Lane, turn: Turn, done: list[str]) -> Coroutine[Any, Any, float | None] | None:
        """The turn's records up to the first that waits, if one does; `done` gets the handlers of those before it."""
        clock, until = turn.clock, turn.until
        for record in islice(lane.records, turn.left):
            event, handler = self._read(record, lane.bulk)
            begun: Begun
            if not isinstance(event, PortalEvent):
                begun = event
            elif handler is None:
                begun = UNHANDLED
            elif handler.looks_ahead:
                return self._together.process(lane, record, event, handler, turn.care)
            else:
                try:
                    begun = self._try(handler, event, (record,), lane.attempts + 1, lane.partition)
                except Exception as error:
                    # One record must not end the worker.
                    tell_fault(error, record)
                    begun = faulty(error)
            # What nearly every event comes to: told, decided and done without looking further.
            if (begun is not DONE or turn.cancelling()) and begun is not UNHANDLED:
                return self._to_its_end(begun, handler, event, lane, record)
            done.append(handler.name if handler is not None else NOBODY)
            if clock() >= until:
                break
        return None

    def _give_up(self, lane: Lane, why: ProcessDied) -> Coroutine[Any, Any, float | None]:
        """The first record, without handling it."""
        record, outcome = lane.records[0], Failed(error=why)
        event, handler = self._read(record)
        if not isinstance(event, PortalEvent):
            return self._to_its_end(event, handler, event, lane, record)
        # Its tries were those of other lives, but for the one that is counted now.
        lane.attempts = why.deaths - 1
        if handler is not None and handler.looks_ahead:
            return self._together.give_up(lane, record, event, handler, outcome)
        return self._to_its_end(outcome, handler, event, lane, record)

    async def _to_its_end(
        self, begun: Begun, handler: Handler | None, event: PortalEvent | Unread, lane: Lane, record: StoredRecord
    ) -> float | None:
        if handler is not None and isinstance(event, PortalEvent):
            lane.attempts += 1
        try:
            outcome = await ended(begun)
            if isinstance(outcome, Unsure):
                # Nobody was called.
                lane.attempts -= 1
            if outcome is DONE and handler is not None:
                self._tally.done(handler.name)
                self._then.finish_first(lane, 1)
                return None
            if lane.partition.is_cancelled and not isinstance(outcome, Done):
                return DROPPED
            self._tell(outcome, handler, event, lane, record)
            following = self._then.decide(outcome, handler, lane, (record,))
        except Exception as error:
            # A handler's error may break whoever looks at it, and one record must not end the worker.
            tell_fault(error, record)
            following = self._then.decide(faulty(error), handler, lane, (record,))
        return await self._then.act(following, lane, (record,))

    def _tell(
        self, outcome: Outcome, handler: Handler | None, event: PortalEvent | Unread, lane: Lane, record: StoredRecord
    ) -> None:
        self._tally.tried(handler.name if handler else NOBODY, outcome.label)
        if handler is not None and isinstance(event, PortalEvent):
            tell_outcome(outcome, handler, event, lane.attempts, record)
