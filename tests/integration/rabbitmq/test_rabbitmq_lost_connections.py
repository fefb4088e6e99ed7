"""Connections that are cut while the node goes on."""

import asyncio

from forebay.queues.contract import Commit, Producer, Queue, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.integration.queue_contract.parts import by_key
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, fetch, record
from tests.integration.queues.stage import read_all
from tests.integration.rabbitmq.relay import Relay, relayed

KEYS, EACH, DEPTH = 8, 150, 10


async def test_records_of_a_key_are_kept_in_their_order_over_connections_that_are_cut(queue: Queue, url: str) -> None:
    async with relayed(url) as (relay, through):
        producer = open_queue(QueueSettings(queue_url=through)).producer()
        kept = await asyncio.gather(*(_send(producer, f"portal{number}", relay) for number in range(KEYS)))
        await producer.close()

    # What was under way when a connection was cut may stand there twice, but never before what came before it.
    firsts = {key: list(dict.fromkeys(numbers)) for key, numbers in by_key(await read_all(queue)).items()}
    assert relay.cuts > 5
    assert firsts == {f"portal{number}": list(range(EACH)) for number in range(KEYS)}
    assert kept == [EACH] * KEYS


async def _send(producer: Producer, key: str, relay: Relay) -> int:
    """Several at the same time; what was refused, and so was not kept, is sent again with all behind it."""
    kept = 0
    while kept < EACH:
        numbers = range(kept, min(kept + DEPTH, EACH))
        records = [Record(key=key, value=str(one).encode(), timestamp_ms=one) for one in numbers]
        sent = [asyncio.create_task(producer.send(STREAM, one)) for one in records]
        if key == "portal0" and kept % 20 == 0:
            await asyncio.wait([sent[0]])
            # The others are on their way, or their answers are.
            relay.cut()
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        refused = [isinstance(one, QueueUnavailable) for one in outcomes]
        assert all(isinstance(one, QueueUnavailable) for one in outcomes if isinstance(one, BaseException))
        assert refused == sorted(refused), "one was refused, and what was sent behind it was kept"
        kept += refused.count(False)
        if any(refused):
            await asyncio.sleep(0.02)
    return kept


async def test_a_consumer_goes_on_over_connections_that_are_cut(producer: Producer, url: str) -> None:
    async with relayed(url) as (relay, through):
        queue, follower = open_queue(QueueSettings(queue_url=through)), Follower()
        consumer = queue.consumer(STREAM, "group", session_s=30.0)
        await consumer.start(follower)
        await follower.owns(PARTITIONS)
        found: list[bytes] = []
        for turn in range(3):
            sent = [await producer.send(STREAM, record(turn * 5 + number)) for number in range(5)]
            found += await _fetched(consumer)
            # Some of the others have come already, and belong to the connection.
            relay.cut()
            while len(found) < (turn + 1) * 5:
                found += await _fetched(consumer)
            await consumer.commit({sent[-1].partition: Commit(offset=sent[-1].offset + 1)})
        await consumer.close()

    assert found == [b"%d" % number for number in range(15)]
    assert follower.told == ["assigned"] * PARTITIONS + ["revoked"] * PARTITIONS


async def _fetched(consumer: object) -> list[bytes]:
    while True:
        try:
            return await fetch(consumer, 1)  # type: ignore[arg-type]
        except QueueUnavailable:
            await asyncio.sleep(0.02)
