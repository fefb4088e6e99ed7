"""Calls of handlers that want several events at once, the last about each object, or no more than so many a second."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from forebay.queues.contract import StoredRecord
from forebay.schemas.event import PortalEvent

from .calls import Calls
from .consequences import DROPPED, Consequences, Following, Records
from .dead_letters import Burial
from .dedup.once import Once
from .folding import Folding, Read
from .handlers import Handler
from .held import Held
from .lanes import Lane
from .metrics import Tally
from .outcome import DONE, Done, Duplicate, Failed, Outcome, Rejected, RetryAsked, Unsure
from .outlook import Outlook
from .parking.restored import is_ordered
from .reports import tell_fault, tell_narrowed, tell_outcome
from .retry import Park


@dataclass(frozen=True, slots=True)
class Piece:
    """One event for a handler, and the records that are finished with it: its own is the last of them."""

    event: PortalEvent
    records: Records


class Together:
    """Of one worker."""

    def __init__(
        self,
        calls: Calls,
        consequences: Consequences,
        held: Held,
        tally: Tally,
        *,
        once: Once | None = None,
        clock: Callable[[], float],
    ) -> None:
        self._once = once
        self._calls, self._then, self._held, self._tally, self._clock = calls, consequences, held, tally, clock

    async def process(self, lane: Lane, handler: Handler, read: Read) -> float | None:
        """Wait for the budget → gather → call → decide → act. None when it is finished, else the seconds to wait."""
        outlook = self._outlook(lane, handler, read)
        wait_s = self._budget_wait_s(lane, handler)
        if wait_s > 0:
            return wait_s
        pieces = self._gathered(lane, outlook, handler, read)
        if self._waits_for_more(outlook, handler, len(pieces)):
            outlook.has_waited = True
            return handler.options.batch_wait_s
        if handler.budget is not None:
            lane.partition.buckets.spend(handler.budget, lane.portal, self._clock())
        outlook.in_hand = [record for piece in pieces for record in piece.records]
        try:
            return await self._call(lane, outlook, handler, pieces)
        finally:
            outlook.in_hand = ()

    def _outlook(self, lane: Lane, handler: Handler, read: Read) -> Outlook:
        outlook = lane.outlook
        if outlook is None:
            outlook = lane.outlook = Outlook()
        if handler.options.coalesce is not None and outlook.folding is None:
            outlook.folding = Folding(lane, read, self._held)
        if outlook.folding is not None:
            outlook.folding.look()
        outlook.per_s = handler.budget.per_s * (handler.options.batch or 1) if handler.budget is not None else None
        return outlook

    def _budget_wait_s(self, lane: Lane, handler: Handler) -> float:
        if handler.budget is None:
            return 0.0
        return lane.partition.buckets.wait_s(handler.budget, lane.portal, self._clock())

    def _gathered(self, lane: Lane, outlook: Outlook, handler: Handler, read: Read) -> list[Piece]:
        """The events of the next call: of one registration, in their order, up to the first of another."""
        most = outlook.limit or handler.options.batch or 1
        pieces: list[Piece] = []
        taken: set[int] = set()
        for record in lane.records:
            if id(record) in taken:
                continue
            piece = self._piece(lane, outlook, handler, read, record)
            if piece is None:
                break
            pieces.append(piece)
            taken.update(map(id, piece.records))
            if len(pieces) >= most:
                break
        return pieces

    def _piece(self, lane: Lane, outlook: Outlook, handler: Handler, read: Read, record: StoredRecord) -> Piece | None:
        records = outlook.folding.group(record) if outlook.folding is not None else (record,)
        event, its = read(records[-1])
        if not isinstance(event, PortalEvent) or not handler.is_as(its):
            return None
        folded = len(records) - 1 + lane.partition.folded_into(records[-1])
        return Piece(event.standing_for(folded) if folded else event, records)

    def _waits_for_more(self, outlook: Outlook, handler: Handler, events: int) -> bool:
        if not handler.options.batch_wait_s or outlook.has_waited or outlook.limit is not None:
            return False
        return events < (handler.options.batch or 1)

    async def _call(self, lane: Lane, outlook: Outlook, handler: Handler, pieces: list[Piece]) -> float | None:
        lane.attempts += 1
        if outlook.folding is not None:
            for piece in pieces:
                outlook.folding.begin(piece.records[0])
        outcome = await self._outcome(handler, pieces)
        if isinstance(outcome, Unsure):
            # Nobody was called.
            lane.attempts -= 1
        if lane.partition.is_cancelled and not isinstance(outcome, Done):
            return DROPPED
        rest = self._finish_done(lane, outlook, handler, pieces, outcome)
        if not rest:
            return None
        return await self._follow(lane, outlook, handler, rest, outcome)

    async def _outcome(self, handler: Handler, pieces: list[Piece]) -> Outcome:
        first = pieces[0]
        if handler.options.dedup is not None and self._once is not None:
            ordered = is_ordered(first.records[-1])
            return await self._once.call(handler, first.event, self._calls.begin, ordered=ordered)
        events = [piece.event for piece in pieces]
        begun = self._calls.begin(handler, events if handler.options.batch else first.event)
        return await begun if isinstance(begun, Coroutine) else begun

    def _finish_done(
        self, lane: Lane, outlook: Outlook, handler: Handler, pieces: list[Piece], outcome: Outcome
    ) -> list[Piece]:
        """Finish those that are done; gives the others."""
        done = _done(outcome, len(pieces))
        label = outcome.label if isinstance(outcome, Done | Duplicate) else DONE.label
        self._tally.tried(handler.name, label, done)
        for piece in pieces[:done]:
            self._tally.tried(handler.name, "folded", piece.event.folded)
            self._then.finish_all(lane, piece.records)
        if done:
            outlook.widen(handler.options.batch or 1)
        if 0 < done < len(pieces):
            # The next one had its first try in the same call.
            lane.attempts = 1
        if isinstance(outcome, Done) and outcome.late:
            tell_outcome(outcome, handler, pieces[0].event, 1)
        return pieces[done:]

    async def _follow(
        self, lane: Lane, outlook: Outlook, handler: Handler, rest: list[Piece], outcome: Outcome
    ) -> float | None:
        first = rest[0]
        try:
            self._tally.tried(handler.name, outcome.label, len(rest))
            tell_outcome(outcome, handler, first.event, lane.attempts)
            if len(rest) > 1 and not _is_about_the_first(outcome):
                return self._narrow(lane, outlook, handler, rest)
            following = self._then.decide(outcome, handler, lane, first.records)
        except Exception as error:
            # As for a single event: a handler's error may break whoever looks at it.
            tell_fault(error, first.records[-1])
            if len(rest) > 1:
                return self._narrow(lane, outlook, handler, rest)
            following = self._then.decide(Failed(error=error), handler, lane, first.records)
        if len(rest) > 1 and _gives_up(following) and not isinstance(outcome, Rejected):
            return self._narrow(lane, outlook, handler, rest)
        return await self._then.act(following, lane, first.records)

    def _narrow(self, lane: Lane, outlook: Outlook, handler: Handler, rest: list[Piece]) -> float:
        """Nobody knows which of them it is: that was no try of any, and the next call is with fewer."""
        lane.attempts -= 1
        outlook.narrow(len(rest))
        tell_narrowed(handler, rest[0].event, len(rest), outlook.limit or 1)
        return self._then.backoff_s(outlook.failures)


def _done(outcome: Outcome, events: int) -> int:
    """How many are done: all, or as many as the handler said, of which at least one is left."""
    if isinstance(outcome, Done | Duplicate):
        return events
    if isinstance(outcome, RetryAsked | Rejected):
        return min(outcome.error.done or 0, events - 1)
    return 0


def _gives_up(following: Following) -> bool:
    return isinstance(following, Burial) or (isinstance(following, Park) and following.delay_s is None)


def _is_about_the_first(outcome: Outcome) -> bool:
    return isinstance(outcome, RetryAsked) or (isinstance(outcome, Rejected) and outcome.error.done is not None)
