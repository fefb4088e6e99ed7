"""Calls of handlers that want several events at once, the last about each object, or no more than so many a second."""

from collections.abc import Callable, Sequence
from itertools import chain, islice
from typing import NamedTuple

from forebay.queues.contract import StoredRecord
from forebay.schemas.event import PortalEvent

from .calls import ended
from .consequences import DROPPED, Consequences, Following, Records
from .crashes.caution import Care
from .dead_letters import Burial
from .dedup.keys import Key
from .errors import check_done
from .folding import Folding
from .handlers import Handler
from .held import Held
from .metrics import Tally
from .outcome import DONE, Done, Duplicate, Outcome, Rejected, RetryAsked, Unsure, faulty
from .outlook import Outlook
from .partitions import Lane
from .reading import Bulk, Reading
from .reports import tell_fault, tell_narrowed, tell_outcome
from .retry import Park, WaitThenAgain
from .tries import Tries


class Piece(NamedTuple):
    """One event for a handler, and the records that are finished with it: its own is the last of them."""

    event: PortalEvent
    records: Records
    #: As what those folded into it are marked, where the handler has `dedup`.
    keys: Sequence[Key | None] = ()


class Call(NamedTuple):
    """What one call is about: events in their order, and the records that are finished with each."""

    events: list[PortalEvent]
    records: list[Records]
    #: As in the first one's piece.
    keys: Sequence[Key | None] = ()


class Together:
    """Of one worker."""

    def __init__(
        self,
        reading: Reading,
        tries: Tries,
        consequences: Consequences,
        held: Held,
        tally: Tally,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._reading, self._tries, self._then = reading, tries, consequences
        self._held, self._tally, self._clock = held, tally, clock

    async def process(
        self, lane: Lane, record: StoredRecord, event: PortalEvent, handler: Handler, care: Care | None = None
    ) -> float | None:
        """Wait for the budget → gather → call → decide → act. None when it is finished, else the seconds to wait."""
        outlook = self._outlook(lane, handler)
        now, budget = self._clock(), handler.budget
        if budget is not None and (wait_s := lane.partition.buckets.wait_s(budget, lane.portal, now)) > 0:
            return wait_s
        is_single = care is not None and care.is_suspect
        if not is_single and self._waits_for_more(lane, outlook, handler):
            return handler.options.batch_wait_s
        most = 1 if is_single else outlook.limit or handler.options.batch or 1
        call = self._gathered(lane, outlook, handler, Piece(event, (record,)), most)
        if budget is not None:
            lane.partition.buckets.spend(budget, lane.portal, now)
        outlook.in_hand = list(chain.from_iterable(call.records))
        if care is not None:
            # What was folded into an event comes again behind the place of the first of them.
            care.takes([records[0] for records in call.records])
        try:
            return await self._call(lane, outlook, handler, call)
        finally:
            outlook.in_hand = ()

    async def give_up(
        self, lane: Lane, record: StoredRecord, event: PortalEvent, handler: Handler, outcome: Outcome
    ) -> float | None:
        """What follows that outcome for the first event, and what is finished with it, without calling anybody."""
        outlook = self._outlook(lane, handler)
        lane.attempts += 1
        call = self._gathered(lane, outlook, handler, Piece(event, (record,)), 1)
        return await self._follow(lane, outlook, handler, call, outcome)

    def _gathered(self, lane: Lane, outlook: Outlook, handler: Handler, first: Piece, most: int) -> Call:
        if outlook.folding is None:
            return self._run(lane, handler, first.event, most)
        call = self._folded(lane, outlook.folding, handler, first, most)
        for records in call.records:
            outlook.folding.begin(records[0])
        return call

    def _outlook(self, lane: Lane, handler: Handler) -> Outlook:
        outlook, options = lane.outlook, handler.options
        if outlook is None:
            outlook = lane.outlook = Outlook()
        if options.coalesce is not None and outlook.folding is None:
            outlook.folding = Folding(lane.partition.fold, self._reading, self._held, self._tries.key)
        lane.fold()
        outlook.per_s = handler.budget.per_s * (options.batch or 1) if handler.budget is not None else None
        return outlook

    def _waits_for_more(self, lane: Lane, outlook: Outlook, handler: Handler) -> bool:
        """Whether the batch isn't full, and was not waited for yet. What waits is counted, whoever handles it."""
        batch = handler.options.batch or 1
        outlook.wanted = 0
        if not handler.options.batch_wait_s or outlook.has_waited or outlook.limit or len(lane.records) >= batch:
            return False
        outlook.has_waited, outlook.wanted = True, batch
        return True

    def _run(self, lane: Lane, handler: Handler, first: PortalEvent, most: int) -> Call:
        """The events of the next call: of one registration, in their order, up to the first of another."""
        events, bulk = [first], Bulk()
        for record in islice(lane.records, 1, most):
            event, its = self._reading.read(record, bulk)
            if not isinstance(event, PortalEvent) or not (its is handler or handler.is_as(its)):
                break
            events.append(event)
        return Call(events, list(zip(islice(lane.records, len(events)))))

    def _folded(self, lane: Lane, folding: Folding, handler: Handler, first: Piece, most: int) -> Call:
        """The same where records fold."""
        pieces: list[Piece] = []
        taken: set[int] = set()
        for record in lane.records:
            if id(record) in taken:
                continue
            piece = self._piece(folding, handler, record, first)
            if piece is None:
                break
            pieces.append(piece)
            if len(pieces) >= most:
                break
            taken.update(map(id, piece.records[1:]))
        return Call([one.event for one in pieces], [one.records for one in pieces], pieces[0].keys)

    def _piece(self, folding: Folding, handler: Handler, record: StoredRecord, first: Piece) -> Piece | None:
        folded = folding.chain(record)
        if folded is not None:
            event = folded.event.standing_for(folded.folded) if folded.folded else folded.event
            its_own = handler.is_as(folded.handler)
            return Piece(event, tuple(folded.records), folded.marked_with_it()) if its_own else None
        if record is first.records[0]:
            return first
        found, its = self._reading.read(record)
        return Piece(found, (record,)) if isinstance(found, PortalEvent) and handler.is_as(its) else None

    async def _call(self, lane: Lane, outlook: Outlook, handler: Handler, call: Call) -> float | None:
        lane.attempts += 1
        outcome, done = await self._outcome(lane, outlook, handler, call)
        if isinstance(outcome, Unsure | Duplicate) and handler.budget is not None:
            lane.partition.buckets.give_back(handler.budget, lane.portal)
        if isinstance(outcome, Unsure):
            # Nobody was called.
            lane.attempts -= 1
        if lane.partition.is_cancelled and not isinstance(outcome, Done):
            return DROPPED
        self._finish_done(lane, outlook, handler, call, outcome, done)
        if done == len(call.events):
            return None
        rest = Call(call.events[done:], call.records[done:])
        return await self._follow(lane, outlook, handler, rest, outcome)

    async def _outcome(self, lane: Lane, outlook: Outlook, handler: Handler, call: Call) -> tuple[Outcome, int]:
        """How it ended, and how many events are done."""
        try:
            # The list is the handler's own: it may do with it what it likes.
            given = list(call.events) if handler.options.batch else call.events[0]
            outcome = await ended(
                self._tries.begin(handler, given, outlook.in_hand, lane.attempts, lane.partition, call.keys)
            )
            return outcome, _done(outcome, len(call.events))
        except Exception as error:
            # As for a single event: a fault must not end the worker.
            tell_fault(error, call.records[0][-1])
            return faulty(error), 0

    def _finish_done(
        self, lane: Lane, outlook: Outlook, handler: Handler, call: Call, outcome: Outcome, done: int
    ) -> None:
        """Finish those that are done."""
        label = outcome.label if isinstance(outcome, Done | Duplicate) else DONE.label
        self._tally.tried(handler.name, label, done)
        if done and outlook.folding is None:
            self._then.finish_all(lane, outlook.in_hand[:done])
        elif done:
            for event, records in zip(call.events[:done], call.records[:done], strict=True):
                self._tally.tried(handler.name, "folded", event.folded)
                self._then.finish_all(lane, records)
        if done:
            outlook.widen(handler.options.batch or 1)
        if 0 < done < len(call.events):
            # The next one had its first try in the same call.
            lane.attempts = 1
        if isinstance(outcome, Done) and outcome.late:
            tell_outcome(outcome, handler, call.events[0], 1, call.records[0][-1])

    async def _follow(
        self, lane: Lane, outlook: Outlook, handler: Handler, rest: Call, outcome: Outcome
    ) -> float | None:
        records, is_single = rest.records[0], len(rest.events) == 1
        try:
            self._tally.tried(handler.name, outcome.label, len(rest.events))
            tell_outcome(outcome, handler, rest.events[0], lane.attempts, records[-1])
            following = self._then.decide(outcome, handler, lane, records)
        except Exception as error:
            # As for a single event: a handler's error may break whoever looks at it.
            tell_fault(error, records[-1])
            outcome = faulty(error)
            following = self._then.decide(outcome, handler, lane, records)
        if is_single or _is_about_the_first(outcome, following):
            return await self._then.act(following, lane, records)
        return await self._narrow(lane, outlook, handler, rest, outcome, following)

    async def _narrow(
        self,
        lane: Lane,
        outlook: Outlook,
        handler: Handler,
        rest: Call,
        outcome: Outcome,
        following: Following,
    ) -> float | None:
        """Nobody knows which of them it is: that was no try of any, and the next call is with fewer."""
        outlook.narrow(len(rest.events))
        tell_narrowed(handler, rest.events[0], len(rest.events), outlook.limit or 1)
        is_asked = isinstance(outcome, RetryAsked) and outcome.error.after_s is not None
        if is_asked and isinstance(following, Park) and following.delay_s is not None:
            # With its try, so that after so long only the first comes, and by itself.
            return await self._then.act(following, lane, rest.records[0])
        lane.attempts -= 1
        if is_asked and isinstance(following, WaitThenAgain):
            return following.delay_s
        return self._then.backoff_s(outlook.failures)


def _done(outcome: Outcome, events: int) -> int:
    """How many are done: all, or as many as the handler said, of which at least one is left. Raises `ValueError`."""
    if isinstance(outcome, Done | Duplicate):
        return events
    if isinstance(outcome, RetryAsked | Rejected):
        # A subclass that doesn't call our `__init__` may say anything: that would count as done what is not.
        check_done(type(outcome.error).__name__, outcome.error.done or 0)
        return min(outcome.error.done or 0, events - 1)
    return 0


def _is_about_the_first(outcome: Outcome, following: Following) -> bool:
    """Whether the handler said that it is, and it isn't given up for what it never did alone."""
    if isinstance(outcome, Rejected):
        return outcome.error.done is not None
    gives_up = isinstance(following, Burial) or (isinstance(following, Park) and following.delay_s is None)
    return isinstance(outcome, RetryAsked) and outcome.error.done is not None and not gives_up
