"""What a member makes of the messages that its client gives it."""

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from forebay.queues.contract import Commit, PlacedRecord
from forebay.queues.errors import QueueUnavailable
from forebay.queues.kafka.assignments import Assignment
from forebay.queues.kafka.commands import Commands
from forebay.queues.kafka.commits import Request
from forebay.queues.kafka.inbox import Inbox
from forebay.queues.kafka.leader_epochs import LeaderEpochs
from forebay.queues.kafka.member import Member
from forebay.queues.kafka.notes import Notes
from forebay.queues.kafka.starts import Start
from tests.clock import Clock

from .memberships import membership

STREAM = "events"
#: Partition → its epoch.
OURS = {0: 7, 1: 8}

Gap = tuple[int, int, int, int]


class NoClients:
    """Makes a client that does nothing."""

    asked_protocol, max_poll_s = "consumer", 1.0

    def member(self, *_: object, **callbacks: Any) -> "NoClients":
        return self

    def __init__(self, *messages: Message) -> None:
        self._messages = list(messages)

    def subscribe(self, *_: object, **__: object) -> None:
        """Nothing comes of it."""

    def poll(self, timeout_s: float) -> Message | None:
        return self._messages.pop(0) if self._messages else None

    def pause(self, partitions: object) -> None:
        """What is there already comes all the same."""


class Reporting(NoClients):
    """Tells of a commit when it is polled."""

    def member(self, *_: object, **callbacks: Any) -> "NoClients":
        self._report = callbacks["on_commit"]
        self._committed: list[TopicPartition] = []
        return self

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        self._committed = offsets

    def poll(self, timeout_s: float) -> Message | None:
        if self._committed:
            self._report(None, self._committed)
        return super().poll(timeout_s)


class Gaps(list[Gap]):
    """Writes down what it is told."""

    def gap(self, *gap: Any) -> None:
        self.append(gap)


def message(partition: int, offset: int, error: int | None = None) -> Message:
    made: dict[str, Any] = {"topic": STREAM, "partition": partition, "offset": offset}
    return Message(**made, **({"key": b"k", "value": b"v"} if error is None else {"error": KafkaError(error)}))


def own(member: Any) -> None:
    for partition, epoch in OURS.items():
        leaders = LeaderEpochs(Start(commit=Commit(offset=0)), lambda offset: None)
        member._client.rebalances.ours[partition] = Assignment(epoch=epoch, place=0, leaders=leaders)


async def test_records_that_come_while_all_is_given_back_are_no_gap() -> None:
    gaps, end = Gaps(), KafkaError._PARTITION_EOF
    member: Any = Member(
        clients=NoClients(message(0, 5), message(0, 6, end), message(0, 8, end)),  # type: ignore[arg-type]
        stream=STREAM,
        group="g",
        session_s=10,
        protocol="consumer",
        ownership=gaps,  # type: ignore[arg-type]
        inbox=Inbox(lambda: None),
        commands=Commands(),
        notes=Notes("a"),
    )
    own(member)
    member._client.rebalances.ours[0].place = 5

    for _ in range(3):
        member._client._go_on(0)
    await asyncio.sleep(0)

    # Only what ends the log behind the record.
    assert gaps == [(0, 7, 6, 8)]


async def test_who_waits_for_room_hears_of_its_commit_and_takes_no_more_than_it_must() -> None:
    inbox, told = Inbox(lambda: None), list[object]()
    clients = Reporting(*(message(0, offset) for offset in range(10)))
    member: Any = Member(
        clients=clients,  # type: ignore[arg-type]
        stream=STREAM,
        group="g",
        session_s=10,
        protocol="consumer",
        ownership=Gaps(),  # type: ignore[arg-type]
        inbox=inbox,
        commands=Commands(),
        notes=Notes("a"),
        # It never loses its patience.
        clock=lambda: 0.0,
    )
    own(member)
    large = PlacedRecord(key="k", value=bytes(20_000_000), timestamp_ms=1, stream=STREAM, partition=0, offset=0)
    inbox.announce({0: [large]})
    inbox.put({0: [large]})

    def answer(error: object) -> None:
        told.append(error)
        inbox.forget(0)

    member.commit(Request(commits={0: Commit(offset=1)}, epochs=OURS, answer=answer))
    member._turn()
    await asyncio.sleep(0)

    assert told == [None]
    assert len(await inbox.take(10, 0)) == 1


async def test_errors_among_records_are_heard_and_cost_none_of_them() -> None:
    gaps, inbox = Gaps(), Inbox(lambda: None)
    member: Any = Member(
        clients=NoClients(),  # type: ignore[arg-type]
        stream=STREAM,
        group="g",
        session_s=10,
        protocol="consumer",
        ownership=gaps,  # type: ignore[arg-type]
        inbox=inbox,
        commands=Commands(),
        notes=Notes("a"),
    )
    own(member)
    read: Any = defaultdict(list)

    member._client._sorting.sort(
        [
            *(message(0, 1), message(0, 2), message(0, 5, KafkaError._PARTITION_EOF), message(0, 8)),
            *(message(1, 3), message(1, 0, KafkaError.TOPIC_AUTHORIZATION_FAILED), message(1, 4)),
            # Of a partition that is not ours any more.
            *(message(2, 1), message(2, 3, KafkaError._PARTITION_EOF)),
        ],
        read,
    )
    await asyncio.sleep(0)

    assert {of: [one.offset for one in batch] for of, batch in read.items()} == {(0, 7): [1, 2, 8], (1, 8): [3, 4]}
    assert gaps == [(0, 7, 3, 5)]
    with pytest.raises(QueueUnavailable):
        await inbox.take(1, 0)


async def test_what_is_withheld_since_the_end_was_lost_is_no_gap() -> None:
    gaps = Gaps()
    with membership() as (member, _, _, _):
        member._client._sorting._tell_of_gap = gaps.gap
        start = Start(commit=Commit(offset=5), leader=3, is_read_again=True)
        leaders = LeaderEpochs(start, lambda offset: None)
        member._client.rebalances.ours[0] = Assignment(epoch=7, place=5, leaders=leaders)
        later = Message(topic=STREAM, partition=0, offset=4, key=b"k", value=b"v", leader_epoch=4)

        member._client._sorting.sort([later, message(0, 9, KafkaError._PARTITION_EOF)], defaultdict(list))

    # Who took it for one would have it committed that all up to 9 is finished.
    assert gaps == []


async def test_what_becomes_ours_as_the_patience_ends_is_paused_no_sooner_than_with_its_first_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, paused = Clock(), list[int]()
    large = PlacedRecord(key="k", value=bytes(20_000_000), timestamp_ms=1, stream=STREAM, partition=9, offset=0)
    with membership(clock) as (member, clients, _, inbox):
        [client] = clients.made
        inbox.announce({9: [large]})
        inbox.put({9: [large]})

        def poll(timeout: float) -> Message | None:
            if not member._client.rebalances.ours:
                client.on["on_assign"](client, [TopicPartition(STREAM, 0)])
                clock.now += 60
                return None
            assert paused == []
            inbox.forget(9)
            return message(0, 0)

        monkeypatch.setattr(client, "poll", poll)
        monkeypatch.setattr(client, "pause", lambda partitions: paused.extend(at.partition for at in partitions))

        member._turn()

    assert paused == [0]


@pytest.mark.parametrize("error", [None, KafkaError._PARTITION_EOF], ids=["record", "end"])
async def test_what_was_read_is_not_taken_for_what_the_partition_gives_after_it_went_and_came_again(
    monkeypatch: pytest.MonkeyPatch, error: int | None
) -> None:
    with membership() as (member, clients, _, inbox):
        [client], gaps, partition = clients.made, Gaps(), [TopicPartition(STREAM, 0)]
        moves = ["on_lost", "on_assign"]

        def consume(most: int, timeout: float) -> list[Message]:
            while moves:
                client.on[moves.pop(0)](client, partition)
            return []

        monkeypatch.setattr(member._ownership, "gap", gaps.gap)
        monkeypatch.setattr(client, "consume", consume, raising=False)
        client.on["on_assign"](client, partition)
        member._client.rebalances.ours[0].place = 8

        monkeypatch.setattr(client, "poll", lambda timeout: message(0, 8, error))

        member._turn()
        await asyncio.sleep(0)

        # It begins anew at 0, and what stands before 8 is still to come.
        assert gaps == []
        assert await inbox.take(10, 0) == []


async def test_a_trouble_that_is_over_is_not_the_reason_for_a_later_one() -> None:
    with membership() as (member, clients, _, inbox):
        [client] = clients.made
        client.on["on_assign"](client, [TopicPartition(STREAM, 0)])
        client.complain(KafkaError(KafkaError._AUTHENTICATION, "a password of long ago"))
        member._client._take(message(0, 0))

        client.complain(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
        await asyncio.sleep(0)

        assert len(await inbox.take(1, 0)) == 1
        with pytest.raises(QueueUnavailable, match="1/1 brokers are down"):
            await inbox.take(1, 0)
