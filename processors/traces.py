"""What a worker tells a tracer of its tries. Where there are no traces there is no such object, and nobody asks it."""

from collections.abc import Callable, Sequence

from forebay.queues.contract import StoredRecord
from forebay.queues.tracing.contract import Tracer, Tried

from .calls import Begun, ended
from .error_texts import error_class
from .handlers import Handler
from .outcome import Failed, Outcome, Rejected, Undecodable
from .parking.restored import is_ordered


class Traces:
    """Of one worker, and so of one group."""

    def __init__(self, tracer: Tracer, group: str) -> None:
        self._tracer, self._group = tracer, group

    async def follow(
        self,
        handler: Handler,
        records: Sequence[StoredRecord],
        attempt: int,
        begin: Callable[[], Begun],
        *,
        events: int = 1,
    ) -> Outcome:
        """The try that begins so, to its end, inside of its span: what the handler calls joins it."""
        tried = Tried(
            group=self._group,
            handler=handler.name,
            attempt=attempt,
            records=records,
            batch=events if handler.options.batch else None,
            replayed=is_ordered(records[-1]),
        )
        with self._tracer.tries(tried) as told:
            outcome = await ended(begin())
            told.ended(outcome.label, _error_of(outcome))
        return outcome


def _error_of(outcome: Outcome) -> str:
    """The class of the error that it was, if it was one: to ask for another try is none."""
    return error_class(outcome.error) if isinstance(outcome, Failed | Rejected | Undecodable) else ""
