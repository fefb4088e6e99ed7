"""What `forebay doctor` says of a node that is of no use."""

import asyncio
from typing import Any

import pytest

from forebay.queues.errors import QueueUnavailable
from forebay.queues.findings import Needs
from forebay.queues.rabbitmq import diagnosis
from forebay.queues.rabbitmq.address import address


class Silent:
    """A queue of a node whose cluster is away: it lets clients in, and answers no question."""

    async def missing(self, *_: object) -> list[str]:
        await asyncio.Event().wait()
        return []


class Reached:
    def __init__(self, *_: object) -> None:
        pass

    async def connection(self) -> Any:
        return None

    async def close(self, *, hurried: bool) -> None:
        pass


async def test_a_node_without_the_most_of_its_cluster_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "Writer", Reached)
    monkeypatch.setattr(diagnosis, "_ANSWER_S", 0.0)
    needs = Needs(streams={"events": frozenset()}, partitions=1, events="events")
    queue: Any = Silent()

    with pytest.raises(QueueUnavailable, match="cluster_status"):
        await anext(diagnosis.findings(queue, address("amqp://mq"), needs))
