"""What the log says about tries and dead letters: portal, name, id, try and error, never a token or a body."""

from forebay.queues.contract import StoredRecord
from forebay.schemas import names
from forebay.schemas.event import PortalEvent
from forebay.schemas.logger import get_logger
from forebay.schemas.trace_context import trace_words

from .dead_letters import Burial
from .error_texts import error_class, error_text, error_traceback
from .handlers import Handler
from .outcome import (
    DONE,
    Done,
    Duplicate,
    Failed,
    GivenUp,
    Outcome,
    Rejected,
    RetryAsked,
    Undecodable,
    Unhandled,
    Unlearned,
    Unprovable,
    Unproved,
    Unsure,
)
from .parking.state import Reason, Trouble

_log = get_logger(__name__)


def place(record: StoredRecord) -> dict[str, object]:
    """Where the record stands, and in which trace."""
    traceparent = next((value for name, value in record.headers if name == names.TRACEPARENT), None)
    return {"partition": record.partition, "offset": record.offset, **trace_words(traceparent)}


def tell_outcome(outcome: Outcome, handler: Handler, event: PortalEvent, attempt: int, record: StoredRecord) -> None:
    """Say how a try ended, when it was not just done."""
    if outcome is DONE:
        return
    about: dict[str, object] = {"portal": event.portal, "name": event.name, "id": event.id, **place(record)}
    about |= {"handler": handler.name, "attempt": attempt}
    match outcome:
        case Done(late=True):
            _log.warning("handled, but after the deadline", **about)
        case RetryAsked(error=asked):
            _log.info("another try was asked for", reason=error_text(asked), after_s=asked.after_s, **about)
        case Failed(error=error) | Rejected(error=error) | Undecodable(error=error):
            _log.warning("not handled", error_class=error_class(error), error=error_text(error), **about)
        case Duplicate():
            _log.info("handled before, and not again", **about)
        case Done() | Unhandled() | Unlearned() | Unproved() | Unprovable() | Unsure() | GivenUp():
            pass


def tell_alone(record: StoredRecord, deaths: int) -> None:
    """Say that it is tried with nothing else at work."""
    text = "it was at work each time that a worker was ended, and is tried with nothing beside it now"
    _log.warning(text, portal=record.key, **place(record), deaths=deaths)


def tell_narrowed(handler: Handler, first: PortalEvent, events: int, limit: int) -> None:
    """Say that it is being looked for which event of a batch fails."""
    about = {"handler": handler.name, "portal": first.portal, "first": first.id}
    _log.warning("a batch was not handled; fewer at once", events=events, next=limit, **about)


def tell_parked(trouble: Trouble, record: StoredRecord) -> None:
    """Say that a portal waits in the parked stream from now on, or still does."""
    _log.warning(
        "portal parked" if trouble.reason is not Reason.HELD else "portal parked until an operator acts",
        portal=record.key,
        **place(record),
        attempt=trouble.attempts,
        error_class=trouble.error_class,
        error=trouble.error,
        next_try_in_s=trouble.delay_s and round(trouble.delay_s, 1),
    )


def tell_fault(error: Exception, record: StoredRecord) -> None:
    """Say that a try could not be followed up: a fault of Forebay, unless the handler's own error brought it out."""
    traceback = error_traceback(error)
    _log.error("a fault after a try, which counts as failed", portal=record.key, **place(record), traceback=traceback)


def tell_quarantined(record: StoredRecord, burial: Burial) -> None:
    """Say that an event went to quarantine."""
    _log.warning("an event went to quarantine", portal=record.key, **place(record), reason=burial.reason)


def tell_dead(record: StoredRecord, burial: Burial) -> None:
    """Say that a record went to the dead letters, with the traceback that they have."""
    headers = dict(burial.letter.headers)

    def said(name: str) -> str:
        return headers.get(name, b"").decode(errors="replace")

    _log.error(
        "given up: dead letter written",
        reason=burial.reason,
        portal=record.key,
        name=names.name_of(said(names.CE_TYPE)),
        id=said(names.CE_ID),
        **place(record),
        handler=said(names.DEAD_HANDLER),
        attempt=int(said(names.DEAD_ATTEMPTS)),
        error=said(names.DEAD_ERROR),
        traceback=said(names.DEAD_TRACEBACK),
    )
