"""A member whose client can't go on, and what it owes to the one that follows."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from forebay.queues.contract import Commit
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.kafka import member as kafka_member
from forebay.queues.kafka.commands import Commands
from forebay.queues.kafka.commits import Request
from forebay.queues.kafka.inbox import Inbox
from forebay.queues.kafka.member import Member
from forebay.queues.kafka.ownership import Ownership

STREAM = "events"
OURS = [TopicPartition(STREAM, 0)]
#: As librdkafka says it when nothing is left.
NO_BROKERS = '{"brokers":{}}'


class Client:
    """Made up: it is at the beginning of each partition, and nothing ever comes."""

    def __init__(self, on_commit: Callable[..., None], on_statistics: Callable[[str], None]) -> None:
        self.report, self.says = on_commit, on_statistics
        self.on: dict[str, Callable[..., None]] = {}

    def subscribe(self, streams: list[str], **on: Callable[..., None]) -> None:
        self.on = on

    def strand(self) -> None:
        self.says(NO_BROKERS)
        self.says(NO_BROKERS)

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [TopicPartition(at.topic, at.partition, 0) for at in partitions]

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        return offsets

    def poll(self, timeout: float) -> None:
        """Nothing."""

    def incremental_assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing comes."""

    incremental_unassign = incremental_assign

    def close(self) -> None:
        """As one that hangs, it calls nobody back."""


class Clients:
    """Makes them, unless there is something in the way."""

    asked_protocol, max_poll_s = "consumer", 1.0

    def __init__(self) -> None:
        self.made: list[Client] = []
        self.in_the_way = 0

    def member(self, *_: object, on_commit: Any, on_statistics: Any, **__: object) -> Client:
        if self.in_the_way:
            self.in_the_way -= 1
            raise QueueError("the setting kafka can't be used: ssl.ca.location: it can't be read")
        self.made.append(Client(on_commit, on_statistics))
        return self.made[-1]


class User(list[str]):
    """Writes down what it is told of its partitions."""

    def assigned(self, partition: int, committed: Commit) -> None:
        self.append("assigned")

    def lost(self, partition: int) -> None:
        self.append("lost")


@contextmanager
def membership() -> Iterator[tuple[Any, Clients, User, Inbox]]:
    clients, user, inbox = Clients(), User(), Inbox(lambda: None)
    yield (
        Member(
            clients=clients,  # type: ignore[arg-type]
            stream=STREAM,
            group="g",
            session_s=10,
            ownership=Ownership(user, inbox, asyncio.Lock()),  # type: ignore[arg-type]
            inbox=inbox,
            commands=Commands(),
        ),
        clients,
        user,
        inbox,
    )


async def test_a_client_that_closes_by_itself_takes_nothing_from_the_one_that_follows() -> None:
    with membership() as (member, clients, user, _):
        clients.made[0].on["on_assign"](clients.made[0], OURS)
        clients.made[0].strand()
        member._turn()
        stranded, follower = clients.made
        follower.on["on_assign"](follower, OURS)

        stranded.on["on_lost"](stranded, OURS)
        await asyncio.sleep(0)

        assert user == ["assigned", "lost", "assigned"]
        assert set(member._rebalances.epochs) == {0}


async def test_a_report_that_a_client_still_owed_is_not_missed_of_the_one_that_follows() -> None:
    with membership() as (member, clients, _, _):
        answers: list[object] = []
        for at in range(2):
            clients.made[at].on["on_assign"](clients.made[at], OURS)
            epochs = dict(member._rebalances.epochs)
            member._commit(Request(commits={0: Commit(offset=1)}, epochs=epochs, answer=answers.append))
            if at == 0:
                # A rebalance answers it otherwise, and its report would come later.
                member._commits.finish(clients.made[0])
                clients.made[0].strand()
                member._turn()

        clients.made[1].report(None, [TopicPartition(STREAM, 0, 1)])

        assert answers == [None, None]


@pytest.mark.parametrize("is_too_old", [False, True], ids=["stranded", "for old brokers"])
async def test_a_client_that_cannot_be_made_just_now_is_made_later(
    monkeypatch: pytest.MonkeyPatch, is_too_old: bool
) -> None:
    monkeypatch.setattr(kafka_member, "_AGAIN_S", 0.01)
    with membership() as (member, clients, _, inbox):
        clients.in_the_way = 2
        if is_too_old:
            member._is_too_old = True
        else:
            clients.made[0].strand()

        member._turn()
        await asyncio.sleep(0)

        assert len(clients.made) == 2
        with pytest.raises(QueueUnavailable, match=r"ssl\.ca\.location"):
            await inbox.take(1, 0)


async def test_a_member_that_is_to_end_makes_no_client_any_more() -> None:
    with membership() as (member, clients, _, _):
        clients.in_the_way = 1
        clients.made[0].strand()

        member._commands.end()
        member.start()
        async with asyncio.timeout(10):
            await member.stop()

        assert len(clients.made) == 1


@pytest.mark.parametrize("error", [KafkaException(KafkaError(KafkaError._FAIL)), TypeError("an error of our own")])
async def test_a_thread_that_an_error_ends_says_so(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(self: Client, timeout: float) -> None:
        raise error

    with membership() as (member, _, _, inbox):
        monkeypatch.setattr(Client, "poll", fail)

        member.start()

        with pytest.raises(QueueError, match="the consumer ended"):
            await inbox.take(1, 10)
        await member.stop()
