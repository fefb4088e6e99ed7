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


async def test_a_close_that_is_cancelled_while_the_partitions_are_looked_for_gives_up_and_lets_go_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    producer, asked = RabbitmqProducer(address("amqp://127.0.0.1:1")), asyncio.Event()

    async def hang(stream: str) -> int:
        asked.set()
        await asyncio.Event().wait()
        return 1

    monkeypatch.setattr(producer._catalog, "partitions", hang)
    sending = asyncio.create_task(producer.send("events", RECORD))
    await asked.wait()
    closing = asyncio.create_task(producer.close())
    await asyncio.sleep(0)

    closing.cancel()

    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(QueueUnavailable, match="closed before"):
            await sending
        await asyncio.wait([closing])
        with pytest.raises(QueueUnavailable, match="was closed"):
            await producer.check()
    assert closing.cancelled()
    assert producer._sequencing._is_closed
