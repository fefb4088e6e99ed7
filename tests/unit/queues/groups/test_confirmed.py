"""What a member knows of its places in a SQL queue."""

from forebay.queues.groups.confirmed import Confirmed, set_back


def test_what_is_heard_late_of_a_former_assignment_changes_nothing() -> None:
    confirmed = Confirmed()
    confirmed.add(0, 1, 70)
    confirmed.add(0, 2, 40)

    confirmed.add(0, 1, 75)

    assert (confirmed.last_epoch(0), confirmed.least(0)) == (2, 40)
    assert set_back({0: 40, 1: 0}, confirmed.leasts()) == set()
    assert set_back({0: 39, 1: 0}, confirmed.leasts()) == {0}
