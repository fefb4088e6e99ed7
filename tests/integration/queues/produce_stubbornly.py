"""A producer process that goes on after an outage: `produce_stubbornly.py QUEUE_URL NAME`.

Sends the records of a key one after the other, each until it is kept, and prints `NAME-k number` then.
"""

import asyncio
import os
import sys

import structlog

from forebay.queues.contract import Producer, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings

KEYS = 20


async def produce(producer: Producer, key: str) -> None:
    number = 0
    while True:
        try:
            await producer.send("events", Record(key=key, value=str(number).encode(), timestamp_ms=number))
        except QueueUnavailable:
            # It was surely not kept: sent once more, it stands in the queue once.
            await asyncio.sleep(0.02)
            continue
        os.write(1, f"{key} {number}\n".encode())
        number += 1


async def main(url: str, name: str) -> None:
    producer = open_queue(QueueSettings(queue_url=url)).producer()
    await asyncio.gather(*(produce(producer, f"{name}-{key}") for key in range(KEYS)))


if __name__ == "__main__":
    # Standard output is for the lines above.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(*sys.argv[1:]))
