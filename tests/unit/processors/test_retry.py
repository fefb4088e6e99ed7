"""From an outcome to what comes next."""

from decimal import Decimal
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.processors.errors import DeadlineExceeded, Reject, Retry
from forebay.processors.outcome import (
    DONE,
    NOT_OURS,
    UNHANDLED,
    Done,
    Failed,
    Outcome,
    Rejected,
    RetryAsked,
    Undecodable,
    Unlearned,
)
from forebay.processors.retry import FINISH, GiveUp, Next, RetryLimits, WaitThenAgain, decide
from forebay.schemas.errors import UndecodableEvent

LIMITS = RetryLimits(retry_first_s=0.5, retry_longest_s=10, retry_total_s=30, retry_after_max_s=60)


def longest(low: float, high: float) -> float:
    return high


def decided(outcome: Outcome, attempts: int = 1, waited_s: float = 0.0, tries: int = 5) -> Next:
    return decide(outcome, LIMITS, tries=tries, attempts=attempts, waited_s=waited_s, draw=longest)


@pytest.mark.parametrize("outcome", [DONE, Done(late=True), UNHANDLED, NOT_OURS])
def test_what_needs_no_more_is_finished(outcome: Outcome) -> None:
    assert decided(outcome) is FINISH


def test_a_record_whose_schema_is_not_known_waits_whatever_tries_and_time_are_left() -> None:
    waits = decided(Unlearned(wait_s=2.5), attempts=5, waited_s=1000.0, tries=1)

    assert waits == WaitThenAgain(delay_s=2.5, asked=True)


def test_waits_double_up_to_the_longest() -> None:
    failed = Failed(error=OSError())

    waits = [decided(failed, attempts, tries=9) for attempts in range(1, 8)]

    assert waits == [WaitThenAgain(delay_s=delay) for delay in (0.5, 1, 2, 4, 8, 10, 10)]


@given(st.integers(1, 4), st.floats(0, 1))
def test_jitter_spreads_a_wait_over_all_of_it(attempts: int, share: float) -> None:
    again = decide(
        Failed(error=OSError()),
        LIMITS,
        tries=5,
        attempts=attempts,
        waited_s=0,
        draw=lambda low, high: low + share * (high - low),
    )

    assert again == WaitThenAgain(delay_s=share * (0.5 * 2 ** (attempts - 1)))


def test_after_the_last_try_it_is_given_up() -> None:
    error = OSError("gone")

    assert decided(Failed(error=error), attempts=5) == GiveUp(reason="failed", error=error)
    assert decided(Failed(error=error), attempts=1, tries=1) == GiveUp(reason="failed", error=error)


def test_waits_have_a_total() -> None:
    assert isinstance(decided(Failed(error=OSError()), attempts=4, waited_s=29, tries=99), GiveUp)


def test_a_deadline_is_a_reason_of_its_own() -> None:
    given_up = decided(Failed(error=DeadlineExceeded("late")), attempts=5)

    assert isinstance(given_up, GiveUp)
    assert given_up.reason == "deadline"


def test_an_asked_wait_is_given_up_to_its_bound_whatever_was_waited() -> None:
    waits = [decided(RetryAsked(error=Retry(after_s=after_s)), waited_s=30.0) for after_s in (0, 7.5, 3600)]

    assert waits == [WaitThenAgain(delay_s=delay_s, asked=True) for delay_s in (0, 7.5, 60)]


def test_an_asked_try_counts_and_without_a_time_it_backs_off() -> None:
    assert isinstance(decided(RetryAsked(error=Retry(after_s=1)), attempts=5), GiveUp)
    assert decided(RetryAsked(error=Retry("the API says no"))) == WaitThenAgain(delay_s=0.5)


def test_rejected_and_undecodable_are_given_up_at_once() -> None:
    rejected, undecodable = Reject("no such deal"), UndecodableEvent("noise")

    assert decided(Rejected(error=rejected)) == GiveUp(reason="rejected", error=rejected)
    assert decided(Undecodable(error=undecodable), attempts=0) == GiveUp(reason="undecodable", error=undecodable)


@pytest.mark.parametrize("after_s", [-1, inf, float("nan")])
def test_a_wait_that_is_none_is_refused_where_it_is_asked(after_s: float) -> None:
    with pytest.raises(ValueError, match="seconds must be 0 or more"):
        Retry(after_s=after_s)


def test_an_asked_wait_may_be_any_number_and_becomes_seconds() -> None:
    asked = RetryAsked(error=Retry(after_s=Decimal(5)))  # type: ignore[arg-type]

    assert repr(decided(asked)) == repr(WaitThenAgain(delay_s=5.0, asked=True))
