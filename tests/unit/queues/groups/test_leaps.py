"""The clock of a group held against one that nobody can set."""

from forebay.queues.groups.leaps import Leaps
from tests.integration.queues.members import Clock

SESSION_MS = 30_000


def test_a_leap_counts_for_a_session() -> None:
    steady = Clock()
    leaps = Leaps(SESSION_MS, steady)
    assert leaps.leapt_ms(1_000_000, steady.now) == 0

    assert leaps.leapt_ms(4_600_000, steady.now) == 3_600_000
    steady.now += 29
    assert leaps.leapt_ms(4_629_000, steady.now) == 3_600_000
    steady.now += 1
    assert leaps.leapt_ms(4_630_000, steady.now) == 0


def test_an_answer_that_is_late_is_no_leap_nor_is_the_next_one_that_is_not() -> None:
    steady = Clock()
    leaps = Leaps(SESSION_MS, steady)

    # It was late on its way back: what it says is old.
    asked_at, steady.now = steady.now, steady.now + 20
    assert leaps.leapt_ms(1_000_000, asked_at) == 0
    assert leaps.leapt_ms(1_020_000, steady.now) == 0
    # It was late on its way there.
    asked_at, steady.now = steady.now, steady.now + 20
    assert leaps.leapt_ms(1_040_000, asked_at) == 0
    assert leaps.leapt_ms(1_040_000, steady.now) == 0


def test_a_clock_that_is_set_back_or_slowly_made_right_has_not_leapt() -> None:
    steady = Clock()
    leaps = Leaps(SESSION_MS, steady)

    for now_ms in (10_000_000, 1_000_000, 1_005_000, 1_010_000, 1_015_000):
        assert leaps.leapt_ms(now_ms, steady.now) == 0
