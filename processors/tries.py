"""The call of a try: told to a tracer where there is one, and left out where dedup knows the event."""

from collections.abc import Sequence

from forebay.queues.contract import StoredRecord
from forebay.queues.tracing.contract import Tracer, Tried

from .calls import Begun, Calls, ended
from .dedup.keys import Key
from .dedup.once import Once
from .error_texts import error_class
from .handlers import Given, Handler
from .outcome import Failed, Outcome, Rejected, Undecodable
from .parking.restored import is_ordered
from .partitions import Partition


class Tries:
    """Of one worker, and so of one group."""

    def __init__(self, calls: Calls, once: Once | None, tracer: Tracer | None, group: str) -> None:
        self._calls, self._once, self._tracer, self._group = calls, once, tracer, group
        #: As what an event is marked when its handler has `dedup`.
        self.key = once.key if once is not None else None

    def begin(
        self,
        handler: Handler,
        given: Given,
        records: Sequence[StoredRecord],
        attempt: int,
        partition: Partition,
        folded: Sequence[Key | None] = (),
    ) -> Begun:
        """One try at what these records are, as `Calls.begin`; `folded` as in `Once`."""
        if self._tracer is not None:
            return self._told(self._tracer, handler, given, records, attempt, partition, folded)
        if handler.options.dedup is None:
            return self._calls.begin(handler, given)
        return self._called(handler, given, records, partition, folded)

    async def _told(
        self,
        tracer: Tracer,
        handler: Handler,
        given: Given,
        records: Sequence[StoredRecord],
        attempt: int,
        partition: Partition,
        folded: Sequence[Key | None],
    ) -> Outcome:
        """To its end, inside of its span: what the handler calls joins it."""
        tried = Tried(
            group=self._group,
            handler=handler.name,
            attempt=attempt,
            records=records,
            batch=len(given) if isinstance(given, list) else None,
            replayed=is_ordered(records[-1]),
        )
        with tracer.tries(tried) as told:
            outcome = await ended(self._called(handler, given, records, partition, folded))
            told.ended(outcome.label, _error_of(outcome))
        return outcome

    def _called(
        self,
        handler: Handler,
        given: Given,
        records: Sequence[StoredRecord],
        partition: Partition,
        folded: Sequence[Key | None],
    ) -> Begun:
        # Dedup looks at one event at a time.
        if handler.options.dedup is None or self._once is None or isinstance(given, list):
            return self._calls.begin(handler, given)
        return self._once.call(
            handler,
            given,
            self._calls.begin,
            ordered=is_ordered(records[-1]),
            folded=folded,
            waits=lambda: not (partition.is_cancelled or partition.is_gone),
        )


def _error_of(outcome: Outcome) -> str:
    """The class of the error that it was, if it was one: to ask for another try is none."""
    return error_class(outcome.error) if isinstance(outcome, Failed | Rejected | Undecodable) else ""
