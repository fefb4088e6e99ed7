"""A producer whose files may not grow for a while: `fill_the_disk.py DATA_DIR`. Prints what became of its records."""

import asyncio
import resource
import signal
import sys
from pathlib import Path

from forebay.queues.contract import Producer, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings

#: Bytes that a file may have while the disk is "full".
FULL = 300_000


def limit(size: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


async def send(producer: Producer, number: int) -> str:
    record = Record(key="portal", value=b"%d " % number + b"x" * 20_000, timestamp_ms=number)
    try:
        await producer.send("events", record)
    except QueueUnavailable:
        return f"refused {number}"
    return f"kept {number}"


async def main(folder: str) -> None:
    # Writing beyond the limit is then an error (EFBIG) and no longer a signal that kills.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    producer = open_queue(QueueSettings(data_dir=Path(folder))).producer()
    limit(FULL)
    for number in range(40):
        print(await send(producer, number))
    limit(resource.RLIM_INFINITY)
    for number in range(40, 50):
        print(await send(producer, number))
    await producer.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
