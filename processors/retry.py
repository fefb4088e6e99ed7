"""From the outcome of a try to what comes next. Pure: the draw of the jitter is passed in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

from .errors import DeadlineExceeded, ProcessDied
from .outcome import (
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

#: Draws a number between the two given, as `random.uniform` does.
Draw = Callable[[float, float], float]

#: A wait doubles at most this often; behind it a float would grow without end.
_MAX_DOUBLINGS = 30

#: So many processes an event may end: one may have been ended for want of memory, or by what ran there before.
_DEATHS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryLimits:
    """How often an event is tried in memory, and how long it waits between its tries. The fields are the settings'."""

    memory_tries: int
    retry_first_s: float
    retry_longest_s: float
    retry_total_s: float
    retry_after_max_s: float
    park_first_s: float
    park_longest_s: float


#: What becomes of an event whose tries are used up: a dead letter, or its portal is held until an operator acts.
End: TypeAlias = Literal["dead", "hold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """Which try it was, of how many, and after how many seconds of waits between them."""

    attempts: int
    tries: int
    waited_s: float = 0.0
    #: Whether the portal can be parked.
    can_park: bool = True
    give_up: End = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The event is finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitThenAgain:
    """The portal waits, and then the event is tried again. `asked` when the time is not of our choosing."""

    delay_s: float
    asked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Park:
    """The portal waits in the parked stream until the next try; without a delay until an operator acts."""

    delay_s: float | None
    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """The event goes to the dead letters. `reason` is one of a few words, for metrics."""

    reason: str
    error: BaseException


Next = Finish | WaitThenAgain | Park | GiveUp

FINISH = Finish()


def decide(outcome: Outcome, limits: RetryLimits, this: Try, *, draw: Draw) -> Next:
    """What follows a try that ended like this."""
    match outcome:
        case Done() | Unhandled() | Duplicate():
            return FINISH
        case Rejected(error=rejected):
            return GiveUp(reason="rejected", error=rejected)
        case Undecodable(error=undecodable):
            return GiveUp(reason="undecodable", error=undecodable)
        case GivenUp(error=discarded):
            return GiveUp(reason="discarded", error=discarded)
        case Unprovable(error=unprovable):
            return GiveUp(reason=outcome.label, error=unprovable)
        case Unproved(wait_s=wait_s, error=unproved) if wait_s > limits.retry_longest_s and this.can_park:
            return Park(delay_s=wait_s, error=unproved)
        case Unlearned(wait_s=wait_s) | Unproved(wait_s=wait_s) | Unsure(wait_s=wait_s):
            # No try of a handler's, and none of its time.
            return WaitThenAgain(delay_s=wait_s, asked=True)
        case RetryAsked(error=asked) if asked.after_s is not None:
            # Not below 0, as a subclass may say that doesn't call our `__init__`.
            delay_s = max(0.0, min(limits.retry_after_max_s, float(asked.after_s)))
            return _asked(asked, delay_s, limits, this)
        case RetryAsked(error=failure) | Failed(error=failure):
            return _failed(failure, limits, this, draw)
    assert_never(outcome)


def _asked(error: BaseException, delay_s: float, limits: RetryLimits, this: Try) -> Next:
    # An asked wait has its own bound: cut to what is left of the total it would come before its time.
    if this.attempts >= this.tries:
        return _given_up(error, this)
    is_short = this.attempts < limits.memory_tries and delay_s <= limits.retry_total_s
    if is_short or not this.can_park:
        return WaitThenAgain(delay_s=delay_s, asked=True)
    return Park(delay_s=delay_s, error=error)


def _failed(error: BaseException, limits: RetryLimits, this: Try, draw: Draw) -> Next:
    if this.attempts >= this.tries or _is_deadly(error):
        return _given_up(error, this)
    delay_s = backoff_s(this.attempts, limits, draw)
    if this.attempts < limits.memory_tries and this.waited_s + delay_s <= limits.retry_total_s:
        return WaitThenAgain(delay_s=delay_s)
    if this.can_park:
        return Park(delay_s=_parked_s(this.attempts, limits, draw), error=error)
    return _given_up(error, this)


def _given_up(error: BaseException, this: Try) -> Next:
    if this.give_up == "hold" and this.can_park:
        return Park(delay_s=None, error=error)
    return GiveUp(reason=_reason(error), error=error)


def _is_deadly(error: BaseException) -> bool:
    return isinstance(error, ProcessDied) and (error.is_last or error.deaths >= _DEATHS)


def _reason(error: BaseException) -> str:
    if isinstance(error, DeadlineExceeded):
        return "deadline"
    return "killed" if isinstance(error, ProcessDied) else "failed"


def _parked_s(attempts: int, limits: RetryLimits, draw: Draw) -> float:
    """Exponential, too, but with half as much jitter: so long nobody wants to wait for nothing."""
    doublings = min(max(0, attempts - limits.memory_tries), _MAX_DOUBLINGS)
    longest = min(limits.park_first_s * 2**doublings, limits.park_longest_s)
    return draw(longest / 2, longest)


def backoff_s(attempts: int, limits: RetryLimits, draw: Draw) -> float:
    """Exponential with full jitter, so that portals which failed together don't come back together."""
    longest = limits.retry_first_s * 2 ** min(attempts - 1, _MAX_DOUBLINGS)
    return draw(0.0, min(longest, limits.retry_longest_s))
