"""A commit is of the assignments under which it was asked, and its answer is its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from forebay.queues.contract import Commit
from forebay.queues.errors import Fenced, QueueError, QueueUnavailable
from forebay.queues.kafka.assignments import Assignment
from forebay.queues.kafka.commits import Commits, Regrouping, Request
from forebay.queues.kafka.leader_epochs import LeaderEpochs
from forebay.queues.kafka.notes import Notes
from forebay.queues.kafka.starts import Start

STREAM = "events"


class Answers(list[QueueError | None]):
    """Of one who asked."""


@dataclass
class Answered:
    """What the brokers say of one partition."""

    partition: int
    error: KafkaError | None = None


@dataclass
class Client:
    """Writes down what it is to commit; what it is told to say is said at once of what waits for it."""

    says: Sequence[Answered] | KafkaError = ()
    sent: list[tuple[bool, list[tuple[int, int]]]] = field(default_factory=list)

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> Sequence[Answered]:
        self.sent.append((asynchronous, [(at.partition, at.offset) for at in offsets]))
        if isinstance(self.says, KafkaError) and not asynchronous:
            raise KafkaException(self.says)
        return () if isinstance(self.says, KafkaError) else self.says


def ours(**epochs: int) -> dict[int, Assignment]:
    """Partitions that are ours, as `p1=…`, and since which epoch."""
    return {
        int(name[1:]): Assignment(
            epoch=epoch, place=0, leaders=LeaderEpochs(Start(commit=Commit(offset=0)), lambda offset: None)
        )
        for name, epoch in epochs.items()
    }


def asked(answers: Answers, offset: int = 10, **epochs: int) -> Request:
    """To commit these partitions."""
    under = {int(name[1:]): epoch for name, epoch in epochs.items()}
    return Request(commits={number: Commit(offset=offset) for number in under}, epochs=under, answer=answers.append)


def begun(client: Any, request: Request, mine: dict[int, Assignment], *, at_once: bool = False) -> Commits:
    commits = Commits(STREAM, Notes("a"))
    commits.begin(client, request, mine, at_once=at_once)
    return commits


@pytest.mark.parametrize("at_once", [False, True])
def test_what_came_again_under_another_epoch_is_not_committed_and_told_as_lost(at_once: bool) -> None:
    client, answers = Client(), Answers()

    commits = begun(client, asked(answers, p1=1, p2=1, p3=1), ours(p1=1, p2=2), at_once=at_once)
    commits.report(None, [])

    assert client.sent == [(not at_once, [(1, 10)])]
    (answer,) = answers
    assert isinstance(answer, Fenced)
    assert set(answer.partitions) == {2, 3}


def test_where_nothing_is_ours_any_more_nobody_is_asked() -> None:
    client, answers = Client(), Answers()

    begun(client, asked(answers, p1=1), ours(p1=2))

    assert client.sent == []
    assert [type(answer) for answer in answers] == [Fenced]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (KafkaError.REBALANCE_IN_PROGRESS, Regrouping),
        (KafkaError.ILLEGAL_GENERATION, Regrouping),
        (KafkaError.STALE_MEMBER_EPOCH, Regrouping),
        (KafkaError.UNKNOWN_MEMBER_ID, Fenced),
        (KafkaError.FENCED_MEMBER_EPOCH, Fenced),
        (KafkaError.FENCED_INSTANCE_ID, Fenced),
        (KafkaError._ASSIGNMENT_LOST, Fenced),
        (KafkaError._FENCED, Fenced),
        (KafkaError.NOT_COORDINATOR, QueueUnavailable),
        (KafkaError._TIMED_OUT, QueueUnavailable),
    ],
)
def test_an_error_says_whether_the_commit_may_be_asked_for_again(code: int, told: type[QueueError]) -> None:
    reported, waited_for, of_one = Answers(), Answers(), Answers()
    error, mine = KafkaError(code), ours(p1=1, p2=1)

    begun(Client(), asked(reported, p1=1, p2=1), mine).report(error, [])
    begun(Client(error), asked(waited_for, p1=1, p2=1), mine, at_once=True)
    some: Any = [Answered(1), Answered(2, error)]
    begun(Client(), asked(of_one, p1=1, p2=1), mine).report(error, some)

    assert [type(answer) for answer in (*reported, *waited_for, *of_one)] == [told] * 3
    if told is Fenced:
        assert [set(answer.partitions) for answer in (*reported, *of_one) if isinstance(answer, Fenced)] == [
            {1, 2},
            {2},
        ]


def test_a_report_of_what_was_answered_otherwise_is_not_taken_for_the_next_one_s() -> None:
    client: Any = Client()
    first, second = Answers(), Answers()
    commits = begun(client, asked(first, p1=1), ours(p1=1))

    commits.begin(client, asked(second, 11, p1=1), ours(p1=1), at_once=False)
    assert first == [None]
    commits.report(KafkaError(KafkaError._TIMED_OUT), [])
    assert second == []
    commits.report(None, [])
    assert second == [None]

    assert client.sent == [(True, [(1, 10)]), (False, [(1, 10)]), (True, [(1, 11)])]


def test_of_a_client_that_is_gone_nothing_is_known() -> None:
    answers = Answers()
    commits = begun(Client(), asked(answers, p1=1), ours(p1=1))

    commits.abandon()
    commits.abandon()

    assert [type(answer) for answer in answers] == [QueueUnavailable]
