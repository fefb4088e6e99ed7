"""What a handler may raise to say what shall happen, and what can be wrong with a handler."""

from math import isfinite

from forebay.schemas.errors import ForebayError


class Retry(ForebayError):
    """Raised by a handler: give me this event again, after `after_s` seconds or, without it, after the usual backoff.

    Only this portal waits: in memory, or parked when that is long. It counts as a try; after the last one the event is
    given up.

    A handler of batches may say `done=k`: the first k events of the list are finished, and it is the one behind them
    that can't be handled yet. Without it the whole list comes again, ever fewer at once.
    """

    # Also of a subclass that doesn't call our `__init__`.
    after_s: float | None = None
    done: int | None = None

    def __init__(
        self,
        reason: str = "the handler asked for another try",
        *,
        after_s: float | None = None,
        done: int | None = None,
    ) -> None:
        if after_s is not None and not (isfinite(after_s) and after_s >= 0):
            raise ValueError(f"Retry(after_s={after_s}): seconds must be 0 or more")
        check_done("Retry", done or 0)
        super().__init__(reason)
        self.after_s, self.done = after_s, done


class Reject(ForebayError):
    """Raised by a handler: this event will never succeed; put it to the dead letters, with the reason, and go on.

    A handler of batches says with `done=k` that the first k events of the list are finished, and that it is the one
    behind them that is rejected; without it nobody knows which, and they are given to it again, ever fewer at once.
    """

    done: int | None = None

    def __init__(self, reason: str, *, done: int | None = None) -> None:
        check_done("Reject", done or 0)
        super().__init__(reason)
        self.done = done


def check_done(what: str, done: int) -> None:
    """Raise `ValueError` when that can't be how many are finished."""
    if not isinstance(done, int) or done < 0:
        raise ValueError(f"{what}(done={done!r}): that many events are finished, so a whole number, 0 or more")


class BadHandler(ForebayError):
    """A handler can't be registered like this; the message says how it can."""


class BadReturn(ForebayError):
    """A handler returned what it should have raised or awaited."""


class DeadlineExceeded(ForebayError):
    """The handler had not ended at its deadline and was cancelled. Raise `deadline_s` or do less in one call."""


class ProcessDied(ForebayError):
    """The process in which the handler ran ended: by a signal, by the system for want of memory, or by `os._exit`.

    The third process that an event ends is its last: it is given up then, however many tries it has left.
    """

    def __init__(self, how: str, *, deaths: int, is_last: bool = False) -> None:
        super().__init__(how)
        #: So many processes have died of the event, as far as this worker knows.
        self.deaths = deaths
        #: It is known that no more may: of those before, the first may be forgotten.
        self.is_last = is_last


class NoProcess(ForebayError):
    """No process for handlers with `cpu=True` could be started; the message says what the system has against it."""


class RaisedElsewhere(ForebayError):
    """A handler's process raised an error that can't be carried from there; the message has its class and text."""


class HandlerCancelled(ForebayError):
    """The handler ended by cancelling itself, which counts as a failure."""


class Discarded(ForebayError):
    """An operator gave this event up; the message says who, and why."""
