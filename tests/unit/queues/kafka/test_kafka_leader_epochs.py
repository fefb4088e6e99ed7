"""A commit names the leader of the last record before it, and by that it is seen that another stands there."""

from typing import Any
from unittest.mock import Mock

import pytest
from confluent_kafka import Message

from forebay.queues.contract import Commit
from forebay.queues.kafka.assignments import Assignment
from forebay.queues.kafka.commits import Commits, Request
from forebay.queues.kafka.leader_epochs import EndLost, LeaderEpochs
from forebay.queues.kafka.notes import Notes
from forebay.queues.kafka.starts import UNKNOWN, Start


def messages(*leaders: int | None, start: int) -> list[Message]:
    return [Message(offset=offset, **_of(leader)) for offset, leader in enumerate(leaders, start)]


def _of(leader: int | None) -> dict[str, Any]:
    return {} if leader is None else {"leader_epoch": leader}


def begun(offset: int, leader: int) -> tuple[LeaderEpochs, list[int]]:
    """And from which offsets on what comes was written after the commit."""
    told: list[int] = []
    return LeaderEpochs(Start(commit=Commit(offset=offset), leader=leader), told.append), told


def test_a_commit_names_the_latest_leader_of_what_was_read() -> None:
    leaders, told = begun(5, UNKNOWN)
    named = [leaders.latest(has_heard=True)]
    for some in (messages(0, start=5), messages(2, 2, start=6), messages(2, 4, None, start=8)):
        assert leaders.new(some) == some
        named.append(leaders.latest(has_heard=True))

    assert named == [UNKNOWN, 0, 2, 2]
    # What the group has read is not known.
    assert told == []


def test_a_commit_names_no_earlier_leader_than_that_before_it() -> None:
    leaders, told = begun(5, 4)

    leaders.new(messages(2, 3, start=5))

    assert (leaders.latest(has_heard=True), told) == (4, [])


@pytest.mark.parametrize("leader", [3, 4, None])
def test_the_last_finished_record_is_not_given_again(leader: int | None) -> None:
    leaders, told = begun(5, 4)

    assert leaders.new(messages(leader, start=4)) == []
    assert leaders.new(after := messages(4, start=5)) == after
    assert (leaders.latest(has_heard=True), told) == (4, [])


def test_what_was_written_after_the_commit_is_told_once() -> None:
    leaders, told = begun(5, 4)

    for some in (messages(4, 4, 6, start=4), messages(6, 7, start=7)):
        leaders.new(some)

    assert told == [6]


def test_a_commit_that_was_asked_for_before_the_rewriting_was_heard_of_names_the_leader_before_it() -> None:
    leaders, told = begun(5, 4)

    leaders.new(messages(4, 6, 7, start=5))

    assert told == [6]
    assert [asked(leaders, rewritten) for rewritten in ([], [0])] == [4, 7]


def asked(leaders: LeaderEpochs, rewritten: list[int]) -> int:
    """The leader that a commit names, asked for with that known."""
    client, sent = Mock(), Commits("events", Notes("a"))
    mine = Assignment(epoch=7, place=8, leaders=leaders)
    request = Request(commits={0: Commit(offset=6)}, epochs={0: 7}, rewritten=rewritten, answer=lambda error: None)
    sent.begin(client, request, {0: mine}, at_once=False)
    [place] = client.commit.call_args.kwargs["offsets"]
    return int(place.leader_epoch)


def test_another_record_in_the_place_of_the_last_finished_one_is_a_lost_end() -> None:
    leaders, _ = begun(5, 4)

    # Nor is anything behind it the group's, and a commit that comes all the same hides nothing from the next start.
    for some in (messages(5, 5, start=4), messages(5, 6, start=6)):
        with pytest.raises(EndLost, match=r"offset 4 .* leader epoch 5, .* under 4"):
            leaders.new(some)

    assert leaders.latest(has_heard=True) == 4


def test_where_no_record_stands_before_the_place_nothing_is_compared() -> None:
    leaders, _ = begun(5, 4)

    assert leaders.new(after := messages(6, start=7)) == after
