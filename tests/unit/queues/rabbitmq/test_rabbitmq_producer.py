"""The writing side, without a server."""

import asyncio

import pytest

from forebay.queues.contract import Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.rabbitmq.address import address
from forebay.queues.rabbitmq.producer import RabbitmqProducer

#: Far more than it needs.
PATIENCE_S = 20.0

RECORD = Record(key="a.bitrix24.ru", value=b"1", timestamp_ms=1)


async def test_a_fault_of_the_client_leaves_no_record_waiting_nor_those_that_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    producer, asked = RabbitmqProducer(address("amqp://127.0.0.1:1")), list[str]()

    async def fault(stream: str) -> int:
        asked.append(stream)
        raise AttributeError("the client has stumbled")

    monkeypatch.setattr(producer._catalog, "partitions", fault)

    async with asyncio.timeout(PATIENCE_S):
        for _ in range(2):
            with pytest.raises(QueueUnavailable, match="the client has stumbled"):
                await producer.send("events", RECORD)
        await producer.close()

    assert asked == ["events"] * 2
