"""From an outcome to what comes next."""

from dataclasses import replace
from decimal import Decimal
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.processors.errors import DeadlineExceeded, ProcessDied, Reject, Retry
from forebay.processors.outcome import (
    DONE,
    UNHANDLED,
    Done,
    Failed,
    Outcome,
    Rejected,
    RetryAsked,
    Undecodable,
    Unlearned,
    Unprovable,
    Unproved,
)
from forebay.processors.proving import NotVerified
from forebay.processors.retry import FINISH, GiveUp, Next, Park, RetryLimits, Try, WaitThenAgain, decide
from forebay.processors.testing import event_of
from forebay.schemas.errors import UndecodableEvent

LIMITS = RetryLimits(
    memory_tries=5,
    retry_first_s=0.5,
    retry_longest_s=10,
    retry_total_s=30,
    retry_after_max_s=3600,
    park_first_s=15,
    park_longest_s=900,
)


def longest(low: float, high: float) -> float:
    return high


def decided(outcome: Outcome, attempts: int = 1, waited_s: float = 0.0, tries: int = 5, **this: Any) -> Next:
    return decide(outcome, LIMITS, Try(attempts=attempts, tries=tries, waited_s=waited_s, **this), draw=longest)


@pytest.mark.parametrize("outcome", [DONE, Done(late=True), UNHANDLED])
def test_what_needs_no_more_is_finished(outcome: Outcome) -> None:
    assert decided(outcome) is FINISH


def test_a_record_whose_schema_is_not_known_waits_whatever_tries_and_time_are_left() -> None:
    waits = decided(Unlearned(wait_s=2.5), attempts=5, waited_s=1000.0, tries=1)

    assert waits == WaitThenAgain(delay_s=2.5, asked=True)


def test_waits_double_up_to_the_longest() -> None:
    failed = Failed(error=OSError())

    limits = replace(LIMITS, memory_tries=9)
    waits = [decide(failed, limits, Try(attempts=attempts, tries=9), draw=longest) for attempts in range(1, 8)]

    assert waits == [WaitThenAgain(delay_s=delay) for delay in (0.5, 1, 2, 4, 8, 10, 10)]


@given(st.integers(1, 4), st.floats(0, 1))
def test_jitter_spreads_a_wait_over_all_of_it(attempts: int, share: float) -> None:
    again = decide(
        Failed(error=OSError()),
        LIMITS,
        Try(attempts=attempts, tries=5),
        draw=lambda low, high: low + share * (high - low),
    )

    assert again == WaitThenAgain(delay_s=share * (0.5 * 2 ** (attempts - 1)))


def test_after_the_last_try_it_is_given_up() -> None:
    error = OSError("gone")

    assert decided(Failed(error=error), attempts=5) == GiveUp(reason="failed", error=error)
    assert decided(Failed(error=error), attempts=1, tries=1) == GiveUp(reason="failed", error=error)


def test_an_event_whose_portal_may_still_be_verified_waits_without_a_try_and_then_parked() -> None:
    error = NotVerified("not yet")

    soon, later = Unproved(wait_s=0.5, error=error), Unproved(wait_s=60, error=error)

    assert decided(soon, attempts=5, tries=1, waited_s=1000.0) == WaitThenAgain(delay_s=0.5, asked=True)
    assert decided(later, attempts=5, tries=1) == Park(delay_s=60, error=error)
    assert decided(later, can_park=False) == WaitThenAgain(delay_s=60, asked=True)


def test_an_event_whose_portal_will_not_be_verified_is_given_up_as_such() -> None:
    error = NotVerified("never")

    outcome = Unprovable(event=event_of("event=ONCRMDEALADD"), error=error)

    assert decided(outcome, give_up="hold") == GiveUp(reason="unverified", error=error)


def test_waits_in_memory_have_a_total_and_a_number_and_then_the_portal_is_parked() -> None:
    error = OSError()

    assert decided(Failed(error=error), attempts=4, waited_s=29, tries=99) == Park(delay_s=15, error=error)
    waits = [decided(Failed(error=error), attempts=attempts, tries=99) for attempts in range(5, 13)]
    assert waits == [Park(delay_s=delay_s, error=error) for delay_s in (15, 30, 60, 120, 240, 480, 900, 900)]


def test_where_a_portal_cannot_be_parked_the_memory_is_all_there_is() -> None:
    error = OSError()

    assert isinstance(decided(Failed(error=error), attempts=5, tries=99, can_park=False), GiveUp)
    assert isinstance(decided(Failed(error=error), attempts=4, waited_s=29, tries=99, can_park=False), GiveUp)
    asked = decided(RetryAsked(error=Retry(after_s=600)), attempts=7, tries=99, can_park=False)
    assert asked == WaitThenAgain(delay_s=600, asked=True)


def test_a_handler_may_want_its_portal_held_instead_of_a_dead_letter() -> None:
    error = OSError()

    assert decided(Failed(error=error), attempts=5, give_up="hold") == Park(delay_s=None, error=error)
    assert isinstance(decided(Failed(error=error), attempts=5, give_up="hold", can_park=False), GiveUp)
    assert isinstance(decided(Rejected(error=Reject("no")), give_up="hold"), GiveUp)


@given(st.integers(5, 200), st.floats(0, 1))
def test_jitter_spreads_a_parked_wait_over_its_second_half(attempts: int, share: float) -> None:
    this = Try(attempts=attempts, tries=1000)
    parked = decide(Failed(error=OSError()), LIMITS, this, draw=lambda low, high: low + share * (high - low))

    assert isinstance(parked, Park)
    assert parked.delay_s is not None
    assert 7.5 <= parked.delay_s <= 900


def test_a_deadline_is_a_reason_of_its_own() -> None:
    given_up = decided(Failed(error=DeadlineExceeded("late")), attempts=5)

    assert isinstance(given_up, GiveUp)
    assert given_up.reason == "deadline"


def test_the_third_process_that_an_event_ends_is_its_last_however_many_tries_are_left() -> None:
    first, second, third = (Failed(error=ProcessDied("by SIGKILL", deaths=deaths)) for deaths in (1, 2, 3))

    assert decided(first) == decided(second) == WaitThenAgain(delay_s=0.5)
    assert decided(third) == GiveUp(reason="killed", error=third.error)


def test_an_asked_wait_is_given_up_to_its_bound_whatever_was_waited() -> None:
    waits = [decided(RetryAsked(error=Retry(after_s=after_s)), waited_s=30.0) for after_s in (0, 7.5)]

    assert waits == [WaitThenAgain(delay_s=delay_s, asked=True) for delay_s in (0, 7.5)]


def test_a_long_asked_wait_is_spent_in_the_parked_stream() -> None:
    asked = Retry(after_s=60)
    too_long = Retry(after_s=86_400)

    assert decided(RetryAsked(error=asked)) == Park(delay_s=60, error=asked)
    assert decided(RetryAsked(error=too_long)) == Park(delay_s=3600, error=too_long)


def test_what_is_just_within_a_bound_waits_in_memory_and_what_is_just_beyond_is_parked() -> None:
    asked, failed = RetryAsked(error=Retry(after_s=30)), Failed(error=OSError())

    assert decided(asked, attempts=4, tries=99) == WaitThenAgain(delay_s=30, asked=True)
    assert decided(asked, attempts=5, tries=99) == Park(delay_s=30, error=asked.error)
    assert decided(failed, attempts=4, waited_s=26, tries=99) == WaitThenAgain(delay_s=4)
    assert decided(failed, attempts=4, waited_s=26.1, tries=99) == Park(delay_s=15, error=failed.error)


def test_an_asked_try_counts_and_without_a_time_it_backs_off() -> None:
    assert isinstance(decided(RetryAsked(error=Retry(after_s=1)), attempts=5), GiveUp)
    assert decided(RetryAsked(error=Retry("the API says no"))) == WaitThenAgain(delay_s=0.5)


def test_rejected_and_undecodable_are_given_up_at_once() -> None:
    rejected, undecodable = Reject("no such deal"), UndecodableEvent("noise")

    assert decided(Rejected(error=rejected)) == GiveUp(reason="rejected", error=rejected)
    assert decided(Undecodable(error=undecodable), attempts=0) == GiveUp(reason="undecodable", error=undecodable)


def test_who_says_past_the_check_that_less_than_no_wait_is_asked_gets_none() -> None:
    asked = Retry()
    asked.after_s = -inf

    assert decided(RetryAsked(error=asked), attempts=1) == WaitThenAgain(delay_s=0, asked=True)
    assert decided(RetryAsked(error=asked), attempts=5, tries=9) == Park(delay_s=0, error=asked)


@pytest.mark.parametrize("after_s", [-1, inf, float("nan")])
def test_a_wait_that_is_none_is_refused_where_it_is_asked(after_s: float) -> None:
    with pytest.raises(ValueError, match="seconds must be 0 or more"):
        Retry(after_s=after_s)


@pytest.mark.parametrize("done", [-1, 1.5, "2"])
def test_a_number_of_events_that_is_none_is_refused_where_it_is_said(done: Any) -> None:
    with pytest.raises(ValueError, match="whole number"):
        Retry(done=done)
    with pytest.raises(ValueError, match="whole number"):
        Reject("no", done=done)


def test_an_asked_wait_may_be_any_number_and_becomes_seconds() -> None:
    asked = RetryAsked(error=Retry(after_s=Decimal(5)))  # type: ignore[arg-type]

    assert repr(decided(asked)) == repr(WaitThenAgain(delay_s=5.0, asked=True))
