"""How far a parked portal is, whose records finish in any order."""

from hypothesis import given
from hypothesis import strategies as st

from forebay.processors.parking.front import Front
from forebay.processors.parking.state import FIRST, PortalState

#: More than is told.
MANY = 600


@given(st.permutations(range(6)), st.integers(0, 6))
def test_the_state_begins_with_the_first_that_is_not_finished(order: list[int], read: int) -> None:
    # Each stands at a position of its own, behind gaps of others' records.
    stand = [(10 + 3 * number, 100 + 7 * number) for number in range(6)]
    state = PortalState(next=10, after=FIRST, records=6)
    front = Front(state)
    for position, offset in stand[:read]:
        front.reach(position, offset, 2)

    finished = 0
    for at, number in enumerate(order):
        front.done.add(stand[number][1])
        before, finished = finished, next(one for one in range(7) if one == read or one not in order[: at + 1])

        assert front.advance(state) == (finished > before)

        assert state.records == 6 - finished
        assert len(front) == read - finished
        if finished:
            assert (state.next, state.after) == (stand[finished - 1][0] + 1, stand[finished - 1][1])
            assert state.after_lap == 2
        assert front.told() == [stand[one][1] for one in sorted(order[: at + 1]) if one >= finished]

    front.read_again(state)
    assert (len(front), front.position, front.after, front.lap) == (0, state.next, state.after, state.after_lap)


def test_what_was_done_of_offsets_that_come_again_is_done_no_more_unless_it_was_read() -> None:
    front = Front(PortalState(next=0, records=4, done=[5, 7, 9, 11]))
    front.reach(0, 3, 0)
    front.reach(1, 9, 0)

    front.forget(7)

    assert front.told() == [5, 9]


def test_of_many_that_are_done_the_lowest_are_told() -> None:
    front = Front(PortalState(next=0, records=MANY))
    front.done.update(range(MANY, 0, -1))

    assert front.told() == list(range(1, len(front.told()) + 1))
    assert 0 < len(front.told()) < MANY
