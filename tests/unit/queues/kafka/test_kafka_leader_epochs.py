"""A commit names the leader of the last record before it, and by that it is seen that another stands there."""

from typing import Any

import pytest
from confluent_kafka import Message

from forebay.queues.contract import Commit
from forebay.queues.kafka.leader_epochs import EndLost, LeaderEpochs
from forebay.queues.kafka.starts import UNKNOWN, Start


def messages(*leaders: int | None, start: int) -> list[Message]:
    return [Message(offset=offset, **_of(leader)) for offset, leader in enumerate(leaders, start)]


def _of(leader: int | None) -> dict[str, Any]:
    return {} if leader is None else {"leader_epoch": leader}


def begun(offset: int, leader: int) -> LeaderEpochs:
    leaders = LeaderEpochs()
    leaders.begin(0, 7, Start(commit=Commit(offset=offset), leader=leader))
    return leaders


def test_a_commit_names_the_leader_of_the_last_record_before_it() -> None:
    leaders = begun(5, UNKNOWN)
    for some in (messages(2, 2, start=5), messages(2, 4, 4, start=7), messages(9, start=12)):
        assert leaders.new(0, 7, some) == some

    # Nothing stands at 10 and 11; of lower offsets than the last nobody asks.
    named = {offset: leaders.before(0, 7, offset) for offset in (5, 6, 8, 9, 12, 13)}

    assert named == {5: UNKNOWN, 6: 2, 8: 2, 9: 4, 12: 4, 13: 9}
    assert leaders.before(0, 8, 13) == UNKNOWN


@pytest.mark.parametrize("leader", [3, 4, None])
def test_the_last_finished_record_is_not_given_again(leader: int | None) -> None:
    leaders = begun(5, 4)

    assert leaders.new(0, 7, messages(leader, start=4)) == []
    assert leaders.before(0, 7, 5) == 4
    assert leaders.new(0, 7, after := messages(6, start=5)) == after


def test_another_record_in_the_place_of_the_last_finished_one_is_a_lost_end() -> None:
    with pytest.raises(EndLost, match=r"offset 4 .* leader epoch 5, .* under 4"):
        begun(5, 4).new(0, 7, messages(5, 5, start=4))


def test_where_no_record_stands_before_the_place_nothing_is_compared() -> None:
    assert begun(5, 4).new(0, 7, after := messages(6, start=7)) == after
