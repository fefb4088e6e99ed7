"""Members of a group whose clients are made up."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from forebay.queues.contract import Commit
from forebay.queues.errors import QueueError
from forebay.queues.kafka.commands import Commands
from forebay.queues.kafka.commits import Request
from forebay.queues.kafka.faults import Faults
from forebay.queues.kafka.inbox import Inbox
from forebay.queues.kafka.member import Member
from forebay.queues.kafka.notes import Notes
from forebay.queues.kafka.ownership import Ownership

STREAM = "events"
OURS = [TopicPartition(STREAM, 0)]
#: As librdkafka says it when nothing is left.
NO_BROKERS = '{"brokers":{}}'


class Client:
    """Made up: it is at the beginning of each partition, and nothing ever comes."""

    def __init__(self, on_commit: Callable[..., None], on_statistics: Callable[[str], None], faults: Faults) -> None:
        self.report, self.says, self.complain = on_commit, on_statistics, faults.note
        self.on: dict[str, Callable[..., None]] = {}
        #: How often it was asked for the ends of its partitions.
        self.asked = 0
        self._assigned: list[TopicPartition] = []

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
        self._assigned += partitions

    def incremental_unassign(self, partitions: Sequence[TopicPartition]) -> None:
        if any(at not in self._assigned for at in partitions):
            raise KafkaException(KafkaError(KafkaError._INVALID_ARG))
        self._assigned = [at for at in self._assigned if at not in partitions]

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing comes anyway."""

    resume = pause

    def assignment(self) -> list[TopicPartition]:
        return self._assigned

    def offsets_for_times(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self.asked += 1
        return partitions

    def close(self) -> None:
        """As one that hangs, it calls nobody back."""


class Clients:
    """Makes them, unless there is something in the way."""

    asked_protocol: str | None = "consumer"
    max_poll_s = 1.0

    def __init__(self) -> None:
        self.made: list[Client] = []
        self.in_the_way = 0

    def member(self, *_: object, on_commit: Any, on_statistics: Any, faults: Faults, **__: object) -> Client:
        if self.in_the_way:
            self.in_the_way -= 1
            raise QueueError("the setting kafka can't be used: ssl.ca.location: it can't be read")
        self.made.append(Client(on_commit, on_statistics, faults))
        return self.made[-1]


class User(list[str]):
    """Writes down what it is told of its partitions."""

    def assigned(self, partition: int, committed: Commit) -> None:
        self.append("assigned")

    def lost(self, partition: int) -> None:
        self.append("lost")


@contextmanager
def membership(clock: Callable[[], float] = time.monotonic) -> Iterator[tuple[Any, Clients, User, Inbox]]:
    clients, user, inbox = Clients(), User(), Inbox(lambda: None)
    yield (
        Member(
            clients=clients,  # type: ignore[arg-type]
            stream=STREAM,
            group="g",
            session_s=10,
            protocol="consumer",
            ownership=Ownership(user, inbox, asyncio.Lock()),  # type: ignore[arg-type]
            inbox=inbox,
            commands=Commands(),
            notes=Notes("a"),
            clock=clock,
        ),
        clients,
        user,
        inbox,
    )


def commit_first(member: Any, answer: Callable[[object], None]) -> None:
    """Have the first partition committed."""
    epochs = {number: mine.epoch for number, mine in member._client.rebalances.ours.items()}
    member._commit(Request(commits={0: Commit(offset=1)}, epochs=epochs, answer=answer))
