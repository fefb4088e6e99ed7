from hypothesis import given
from hypothesis import strategies as st

from forebay.ingest.callers.failures import MANY, Failures, by_address, by_portal
from tests.clock import Clock


def test_who_fails_again_and_again_is_known_for_it_until_he_pauses() -> None:
    time = Clock(1000.0)
    failures = Failures(clock=time)

    for _ in range(MANY - 1):
        failures.note("a")
    assert (failures.is_known("a"), bool(failures)) == (False, False)

    failures.note("a")
    assert (failures.is_known("a"), failures.is_known("b"), bool(failures)) == (True, False, True)

    time.now += 61
    assert (failures.is_known("a"), bool(failures)) == (False, False)


def test_failures_with_pauses_between_them_are_never_many() -> None:
    time = Clock(1000.0)
    failures = Failures(clock=time)

    for _ in range(MANY * 3):
        failures.note("a")
        time.now += 61

    assert not failures.is_known("a")


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 90)), max_size=400))
def test_however_many_fail_only_so_many_are_counted(steps: list[tuple[int, int]]) -> None:
    time = Clock(1000.0)
    failures = Failures(most=4, clock=time)

    for name, pause_s in steps:
        failures.note(str(name))
        time.now += pause_s / 10
        assert len(failures) <= 4

    known = [name for name in map(str, range(7)) if failures.is_known(name)]
    assert bool(failures) == bool(known)


def test_all_addresses_of_a_network_of_ipv6_are_one_caller() -> None:
    assert by_address("2001:db8::1") == by_address("2001:db8::ffff:1") != by_address("2001:db8:0:1::1")
    assert by_address("::ffff:203.0.113.7") == by_address("203.0.113.7") == "203.0.113.7"


def test_a_portal_can_not_call_itself_by_an_address() -> None:
    assert by_portal("203.0.113.7") != by_address("203.0.113.7")


def test_who_was_known_and_fails_once_after_a_pause_is_known_no_more() -> None:
    time = Clock(1000.0)
    failures = Failures(clock=time)
    for _ in range(MANY):
        failures.note("a")

    time.now += 61
    failures.note("a")

    assert (failures.is_known("a"), bool(failures)) == (False, False)
