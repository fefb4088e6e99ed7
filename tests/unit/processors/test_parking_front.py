"""How far a parked portal is, whose records finish in any order."""

from hypothesis import given
from hypothesis import strategies as st

from forebay.processors.parking.front import Front
from forebay.processors.parking.state import FIRST, PortalState

#: More than is told.
MANY = 600


def told(front: Front, last: int = 1000, last_lap: int = 1) -> list[tuple[int, int]]:
    """What is done, as the state says it to the next owner."""
    state = PortalState(last=last, last_lap=last_lap)
    front.tell(state)
    return sorted(Front(PortalState.from_bytes(state.to_bytes())).done)


@given(st.permutations(range(6)), st.integers(0, 6))
def test_the_state_begins_with_the_first_that_is_not_finished(order: list[int], read: int) -> None:
    # Each stands at a position of its own, behind gaps of others' records; the last three came again.
    stand = [(10 + 3 * number, (number // 3, 100 + 7 * (number % 3))) for number in range(6)]
    state = PortalState(next=10, after=FIRST, records=6)
    front = Front(state)
    for position, mark in stand[:read]:
        front.reach(position, mark)

    finished = 0
    for at, number in enumerate(order):
        front.done.add(stand[number][1])
        before, finished = finished, next(one for one in range(7) if one == read or one not in order[: at + 1])

        assert front.advance(state) == (finished > before)

        assert state.records == 6 - finished
        assert len(front) == read - finished
        if finished:
            assert (state.next, state.before) == (stand[finished - 1][0] + 1, stand[finished - 1][1])
        assert told(front) == [stand[one][1] for one in sorted(order[: at + 1]) if one >= finished]

    front.read_again(state)
    assert (len(front), front.position, front.before) == (0, state.next, state.before)


def test_what_is_done_and_not_spilled_yet_is_not_told() -> None:
    front = Front(PortalState(done=[5, 7], done_later=[(1, 3)]))
    front.done.add((1, 4))

    assert told(front, last=3) == [(0, 5), (0, 7), (1, 3)]


def test_of_many_that_are_done_the_lowest_are_told() -> None:
    front = Front(PortalState())
    front.done.update((lap, offset) for offset in range(MANY, 0, -1) for lap in (0, 1))

    found = told(front)

    assert found == [(0, offset) for offset in range(1, len(found) + 1)]
    assert 0 < len(found) < MANY
