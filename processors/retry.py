"""From the outcome of a try to what comes next. Pure: the draw of the jitter is passed in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from .errors import DeadlineExceeded
from .outcome import Done, Failed, NotOurs, Outcome, Rejected, RetryAsked, Undecodable, Unhandled, Unlearned

#: Draws a number between the two given, as `random.uniform` does.
Draw = Callable[[float, float], float]

#: A wait doubles at most this often; behind it a float would grow without end.
_MAX_DOUBLINGS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryLimits:
    """How long an event waits between its tries. The fields are those of the settings."""

    retry_first_s: float
    retry_longest_s: float
    retry_total_s: float
    retry_after_max_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The event is finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitThenAgain:
    """The portal waits, and then the event is tried again. `asked` when the time is not of our choosing."""

    delay_s: float
    asked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """The event goes to the dead letters. `reason` is one of a few words, for metrics."""

    reason: str
    error: BaseException


#: Parking a portal will be a fourth: the worker matches on this type and mypy finds the places.
Next = Finish | WaitThenAgain | GiveUp

FINISH = Finish()


def decide(outcome: Outcome, limits: RetryLimits, *, tries: int, attempts: int, waited_s: float, draw: Draw) -> Next:
    """What follows the try number `attempts` of at most `tries`, after `waited_s` seconds of waits between them."""
    match outcome:
        case Done() | Unhandled() | NotOurs():
            return FINISH
        case Rejected(error=rejected):
            return GiveUp(reason="rejected", error=rejected)
        case Undecodable(error=undecodable):
            return GiveUp(reason="undecodable", error=undecodable)
        case Unlearned(wait_s=wait_s):
            # No try of a handler's, and none of its time.
            return WaitThenAgain(delay_s=wait_s, asked=True)
        case RetryAsked(error=asked) if asked.after_s is not None:
            # An asked wait has its own bound: cut to what is left of the total it would come before its time.
            delay_s = min(limits.retry_after_max_s, float(asked.after_s))
            return WaitThenAgain(delay_s=delay_s, asked=True) if attempts < tries else _given_up(asked)
        case RetryAsked(error=failure) | Failed(error=failure):
            delay_s = backoff_s(attempts, limits, draw)
            has_time = waited_s + delay_s <= limits.retry_total_s
            return WaitThenAgain(delay_s=delay_s) if attempts < tries and has_time else _given_up(failure)
    assert_never(outcome)


def _given_up(error: BaseException) -> GiveUp:
    return GiveUp(reason="deadline" if isinstance(error, DeadlineExceeded) else "failed", error=error)


def backoff_s(attempts: int, limits: RetryLimits, draw: Draw) -> float:
    """Exponential with full jitter, so that portals which failed together don't come back together."""
    longest = limits.retry_first_s * 2 ** min(attempts - 1, _MAX_DOUBLINGS)
    return draw(0.0, min(longest, limits.retry_longest_s))
