"""What is known of a parked portal."""

import orjson

from forebay.processors.parking.state import PortalState, Replaying


def test_behind_the_last_of_a_lap_comes_only_what_came_again() -> None:
    state = PortalState()
    for offset in (1, 2):
        state.spill((0, offset))
    state.come_again(1)
    state.spill((1, 1))
    for position, offset in enumerate((1, 2)):
        state.advance(position, (0, offset))

    assert state.before == (0, 2)
    assert state.may_follow(state.before, (1, 1))
    assert not state.may_follow(state.before, (0, 3))


def test_laps_that_are_done_leave_no_trace() -> None:
    state = PortalState()
    for lap in range(5):
        state.spill((lap, 1))
        state.come_again(1)
    state.spill((5, 1))
    for lap in range(5):
        state.advance(lap, (lap, 1))

    assert state.lap_ends == [(4, 1)]

    state.begin_at(5)
    assert state.lap_ends == []


def test_what_came_again_and_is_parked_needs_not_come_once_more() -> None:
    state = PortalState()
    for offset in (1, 2):
        state.spill((0, offset))

    state.come_again(1)
    assert state.settled == 0

    state.spill((1, 1))
    assert state.settled == 1


def test_in_a_copy_what_was_ordered_elsewhere_discards_nothing_that_is_ordered_here() -> None:
    state = PortalState(orders=9, discard_orders=8)

    state.know_orders(3)

    assert (state.orders, state.discard_orders) == (3, 3)

    # What comes later here was not ordered yet.
    state.know_orders(5)
    assert (state.orders, state.discard_orders) == (3, 3)


def test_what_versions_before_did_not_tell_is_as_they_meant_it() -> None:
    told = orjson.dumps({"records": 1, "last": 7, "replays": [{"order": 3, "done": 1}]})

    state = PortalState.from_bytes(told)

    assert state == PortalState(records=1, last=7, replays=[Replaying(order=3, done=1, at_ms=0)])


def test_the_first_is_given_up_as_long_as_something_waits_that_was_discarded() -> None:
    state = PortalState()
    for offset in (1, 2):
        state.spill((0, offset))
    state.discard_lap, state.discard_to = state.newest
    state.spill((0, 3))
    said = [state.gives_up_first]
    for position, offset in enumerate((1, 2, 3)):
        state.advance(position, (0, offset))
        said.append(state.gives_up_first)

    # What waits anew stands behind nothing.
    state.begin_at(3)
    said.append(state.gives_up_first)
    state.spill((0, 4))
    said.append(state.gives_up_first)

    assert said == [True, True, False, False, False, False]
