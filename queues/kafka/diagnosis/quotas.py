"""Whether the brokers hold us back by a quota. They tell who asks, and no client of ours can ask what is set."""

import asyncio
import time
from collections.abc import AsyncIterator

from confluent_kafka import TopicPartition

from forebay.queues.findings import Finding, Needs
from forebay.queues.kafka import closing
from forebay.queues.kafka.clients import Clients
from forebay.queues.kafka.faults import Faults
from forebay.queues.kafka.remedies import remedy
from forebay.queues.threads.daemons import Threads

#: So many before the end, as librdkafka says it (RD_KAFKA_OFFSET_TAIL): who gets nothing is not held back.
_LAST_RECORDS = -2000 - 50

#: Somebody waits. Brokers that are held to a quota answer a reader at once, with what he has to wait for the next.
_LOOK_S = 1.0
_POLL_S = 0.1


async def held_back(clients: Clients, needs: Needs) -> AsyncIterator[Finding]:
    """What the clients were told of a quota until now, or are as the last events are read, where that is ours to do."""
    threads = Threads(1, "forebay-quotas")
    try:
        if "read" in needs.streams[needs.events]:
            last = [TopicPartition(needs.events, number, _LAST_RECORDS) for number in range(needs.partitions)]
            await asyncio.get_running_loop().run_in_executor(threads, _read, clients, last)
    finally:
        threads.shutdown()
    if (told := clients.held_back) is not None:
        yield Finding(check="brokers", state="warn", detail=told.str(), remedy=remedy(told))


def _read(clients: Clients, last: list[TopicPartition]) -> None:
    client = clients.outsider(Faults())
    try:
        client.assign(last)
        until, left = time.monotonic() + _LOOK_S, len(last)
        while left and clients.held_back is None and time.monotonic() < until:
            message = client.poll(_POLL_S)
            left -= message is not None and message.error() is not None
    finally:
        closing.end(client.close)
