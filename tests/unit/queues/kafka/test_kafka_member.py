"""What a member makes of the messages that its client gives it."""

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message

from forebay.queues.errors import QueueUnavailable
from forebay.queues.kafka.commands import Commands
from forebay.queues.kafka.inbox import Inbox
from forebay.queues.kafka.member import Member

STREAM = "events"
#: Partition → its epoch.
OURS = {0: 7, 1: 8}

Gap = tuple[int, int, int, int]


class NoClients:
    """Makes a client that does nothing."""

    asked_protocol, max_poll_s = "consumer", 1.0

    def member(self, *_: object, **__: object) -> "NoClients":
        return self

    def __init__(self, *messages: Message) -> None:
        self._messages = list(messages)

    def subscribe(self, *_: object, **__: object) -> None:
        """Nothing comes of it."""

    def poll(self, timeout_s: float) -> Message | None:
        return self._messages.pop(0) if self._messages else None

    def pause(self, partitions: object) -> None:
        """What is there already comes all the same."""


class Gaps(list[Gap]):
    """Writes down what it is told."""

    def gap(self, *gap: Any) -> None:
        self.append(gap)


def message(partition: int, offset: int, error: int | None = None) -> Message:
    made: dict[str, Any] = {"topic": STREAM, "partition": partition, "offset": offset}
    return Message(**made, **({"key": b"k", "value": b"v"} if error is None else {"error": KafkaError(error)}))


async def test_records_that_come_while_all_is_given_back_are_no_gap() -> None:
    gaps, end = Gaps(), KafkaError._PARTITION_EOF
    member: Any = Member(
        clients=NoClients(message(0, 5), message(0, 6, end), message(0, 8, end)),  # type: ignore[arg-type]
        stream=STREAM,
        group="g",
        session_s=10,
        ownership=gaps,  # type: ignore[arg-type]
        inbox=Inbox(lambda: None),
        commands=Commands(),
    )
    member._client.rebalances.epochs.update(OURS)
    member._client.rebalances.places[0, OURS[0]] = 5

    for _ in range(3):
        member._client._go_on(0)
    await asyncio.sleep(0)

    # Only what ends the log behind the record.
    assert gaps == [(0, 7, 6, 8)]


async def test_errors_among_records_are_heard_and_cost_none_of_them() -> None:
    gaps, inbox = Gaps(), Inbox(lambda: None)
    member: Any = Member(
        clients=NoClients(),  # type: ignore[arg-type]
        stream=STREAM,
        group="g",
        session_s=10,
        ownership=gaps,  # type: ignore[arg-type]
        inbox=inbox,
        commands=Commands(),
    )
    member._client.rebalances.epochs.update(OURS)
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
