"""A producer process: `produce_forever.py QUEUE_URL NAME`. Prints `NAME-k number` for each record that is kept."""

import asyncio
import os
import sys

import structlog

from forebay.queues.contract import Producer, Record
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings

KEYS = 8
#: Calls of one key that run at the same time.
DEPTH = 4


async def produce(producer: Producer, key: str) -> None:
    running: set[asyncio.Task[None]] = set()
    number = 0
    while True:
        running.add(asyncio.create_task(send(producer, key, number)))
        number += 1
        if len(running) >= DEPTH:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()


async def send(producer: Producer, key: str, number: int) -> None:
    await producer.send("events", Record(key=key, value=str(number).encode(), timestamp_ms=number))
    # One write, so that lines of several processes don't mix; unbuffered, so that a kill leaves nothing untold.
    os.write(1, f"{key} {number}\n".encode())


async def main(url: str, name: str) -> None:
    producer = open_queue(QueueSettings(queue_url=url)).producer()
    await asyncio.gather(*(produce(producer, f"{name}-{key}") for key in range(KEYS)))


if __name__ == "__main__":
    # Standard output is for the lines above.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(*sys.argv[1:]))
