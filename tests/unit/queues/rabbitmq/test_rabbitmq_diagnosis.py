"""What `forebay doctor` says of a node that is of no use."""

import asyncio
from typing import Any

import pytest

from forebay.queues.errors import QueueUnavailable
from forebay.queues.findings import Needs
from forebay.queues.rabbitmq import diagnosis
from forebay.queues.rabbitmq.address import Address, address


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


class OfItsOwn:
    """A connection to a node that is a cluster by itself."""

    def __init__(self, address: Address, part: str) -> None:
        self.server = {"cluster_name": f"rabbit@{address.nodes[0].host}"}

    async def open(self, patience_s: float) -> None:
        pass

    async def close(self) -> None:
        pass


async def test_nodes_that_know_nothing_of_each_other_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ended(*_: object) -> int:
        return 0

    monkeypatch.setattr(diagnosis, "Connection", OfItsOwn)
    monkeypatch.setattr(diagnosis, "end_of", ended)

    found = [one async for one in diagnosis._nodes(address("amqp://mq1,mq2"), "forebay:events:0")]
    alone = [one async for one in diagnosis._nodes(address("amqp://mq1"), "forebay:events:0")]

    assert [(one.check, one.state) for one in found] == [("queue nodes", "fail"), ("queue streams", "ok")]
    assert "rabbit@mq1, rabbit@mq2" in found[0].detail
    assert [(one.check, one.state) for one in alone] == [("queue streams", "ok")]
