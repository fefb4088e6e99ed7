"""Threads of a client that may read again, and sleep."""

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from forebay.queues.kafka.waking import Waking

from .memberships import OURS, STREAM, membership


class Client:
    """Has partitions, and writes down of which it is asked; nobody answers."""

    def __init__(self, *partitions: int) -> None:
        self._partitions = partitions
        self.asked: list[list[int]] = []

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition("events", number, 7) for number in self._partitions]

    def offsets_for_times(self, partitions: list[TopicPartition], timeout: float) -> None:
        self.asked.append([at.partition for at in partitions])
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def looks(waking: Waking, client: Any, now: list[float], times: int) -> None:
    for _ in range(times):
        waking.look(client)
        now[0] += 0.03


def test_every_leader_is_asked_some_times_once_partitions_are_read_again() -> None:
    now = [0.0]
    waking, client = Waking(lambda: now[0]), Client(3, 5)

    looks(waking, client, now, 3)
    before = list(client.asked)
    waking.note()
    looks(waking, client, now, 100)

    assert before == []
    assert client.asked == [[3, 5]] * 3


def test_who_has_nothing_asks_nobody() -> None:
    now = [0.0]
    waking, client = Waking(lambda: now[0]), Client()

    waking.note()
    looks(waking, client, now, 10)

    assert client.asked == []


@pytest.mark.parametrize(
    "paused",
    [
        lambda member, client: client.on["on_assign"](client, []),
        lambda member, client: client.on["on_lost"](client, OURS),
        lambda member, client: member._client._pause(),
    ],
    ids=["it stays in a rebalance", "others go", "there is room again"],
)
async def test_a_member_asks_when_its_client_may_read_again(paused: Callable[[Any, Any], None]) -> None:
    with membership() as (member, clients, _, _):
        [client] = clients.made
        client.incremental_assign([*OURS, TopicPartition(STREAM, 1)])
        member._turn()
        before = client.asked
        paused(member, client)
        member._turn()

    assert (before, client.asked) == (0, 1)
