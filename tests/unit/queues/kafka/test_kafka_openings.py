"""Of a partition that a client begins with, one record is under way, and those behind it wait in a bounded room."""

import pytest

from forebay.queues.kafka.openings import Openings
from tests.clock import Clock

EVENTS, OTHERS, LETTERS = ("events", 0), ("events", 1), ("letters", 0)


def begun(*places: tuple[str, int], records: int = 100, size: int = 100) -> Openings:
    """The first record of each place is under way: number 0 that of the first one, and so on."""
    openings = Openings((records, size))
    for number, place in enumerate(places):
        assert not openings.must_wait(place, number, 1)
        openings.sent(place, number, 1)
    return openings


def test_what_follows_the_first_waits_until_that_is_kept_and_then_nothing_does() -> None:
    openings = begun(EVENTS)

    assert [openings.must_wait(EVENTS, number, 1) for number in (1, 2)] == [True, True]
    assert not openings.must_wait(OTHERS, 3, 1)

    assert list(openings.ended(0, is_kept=True)) == [2, 1]
    assert not openings.must_wait(EVENTS, 1, 1)
    openings.sent(EVENTS, 1, 1)
    assert not openings.must_wait(EVENTS, 2, 1)


def test_where_the_first_is_not_kept_the_next_is_the_first() -> None:
    openings = begun(EVENTS)
    openings.must_wait(EVENTS, 1, 1)
    openings.must_wait(EVENTS, 2, 1)

    assert list(openings.ended(0, is_kept=False)) == [2, 1]

    assert not openings.must_wait(EVENTS, 1, 1)
    openings.sent(EVENTS, 1, 1)
    assert openings.must_wait(EVENTS, 2, 1)


def test_a_partition_to_which_nothing_was_sent_for_a_minute_is_begun_anew() -> None:
    clock = Clock()
    openings = Openings((100, 100), clock)
    openings.sent(EVENTS, 0, 1)
    clock.now = 90.0
    openings.ended(0, is_kept=True)

    waited = []
    for number, clock.now in ((1, 149.0), (2, 208.0), (3, 268.0)):
        openings.sent(EVENTS, number, 1)
        waited.append(openings.must_wait(EVENTS, 10 + number, 1))

    assert waited == [False, False, True]
    assert list(openings.ended(3, is_kept=False)) == [13]
    openings.sent(EVENTS, 13, 1)
    assert openings.must_wait(EVENTS, 14, 1)


def test_a_stream_that_was_away_is_begun_anew_and_others_are_not() -> None:
    openings = begun(EVENTS, OTHERS, LETTERS)
    for number in range(3):
        openings.ended(number, is_kept=True)

    openings.forget("events")

    for number, place in enumerate((EVENTS, OTHERS, LETTERS), 3):
        openings.sent(place, number, 1)
    assert [openings.must_wait(place, 9, 1) for place in (EVENTS, OTHERS, LETTERS)] == [True, True, False]


def test_only_the_end_of_a_first_one_lets_others_go() -> None:
    openings = begun(EVENTS)
    openings.must_wait(EVENTS, 1, 1)

    assert list(openings.ended(1, is_kept=True)) == []
    assert openings.must_wait(EVENTS, 2, 1)


@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize(("records", "size"), [(3, 1000), (1000, 3)])
def test_no_more_wait_than_have_room_and_their_room_is_free_again_when_they_go(
    records: int, size: int, is_kept: bool
) -> None:
    openings = begun(EVENTS, records=records, size=size)
    for partition in range(5):
        here, following = ("events", partition), ("events", partition + 1)
        assert openings.must_wait(here, 1, 1)
        assert openings.must_wait(here, 2, 1)
        with pytest.raises(BufferError):
            openings.must_wait(here, 3, 1)

        assert list(openings.ended(0, is_kept=is_kept)) == [2, 1]
        assert not openings.must_wait(following, 0, 1)
        openings.sent(following, 0, 1)


def test_what_leaves_a_stream_is_all_that_waits_of_it_and_gives_its_room_back() -> None:
    openings = begun(EVENTS, OTHERS, LETTERS, records=6)
    openings.must_wait(OTHERS, 4, 1)
    openings.must_wait(EVENTS, 3, 1)
    openings.must_wait(LETTERS, 5, 1)

    assert list(openings.leave("events")) == [4, 3]

    assert list(openings.leave("events")) == []
    assert openings.must_wait(LETTERS, 6, 1)
    assert openings.must_wait(LETTERS, 7, 1)
    assert list(openings.ended(0, is_kept=True)) == list(openings.ended(1, is_kept=True)) == []
    assert list(openings.ended(2, is_kept=True)) == [7, 6, 5]
