"""A consumer process: `consume_forever.py QUEUE_URL NAME SESSION_S`, until SIGTERM.

Prints `NAME record KEY NUMBER`, `NAME fenced`, and `NAME assigned|revoked|lost PARTITION`.
"""

import asyncio
import os
import signal
import sys

import structlog

from forebay.queues.contract import Commit, Consumer
from forebay.queues.errors import Fenced, QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings


class Worker:
    """Commits what it has printed, after every third fetch and when a partition is asked back."""

    def __init__(self, name: str, consumer: Consumer) -> None:
        self.name, self.consumer = name, consumer
        self.printed: dict[int, Commit] = {}
        self.stopping = False

    def tell(self, *words: object) -> None:
        # One write, so that lines of several processes don't mix; unbuffered, so that a kill leaves nothing untold.
        os.write(1, (" ".join(map(str, (self.name, *words))) + "\n").encode())

    def assigned(self, partition: int, committed: Commit) -> None:
        self.tell("assigned", partition)

    async def revoked(self, partition: int) -> None:
        if partition in self.printed:
            await self.commit({partition: self.printed.pop(partition)})
        self.tell("revoked", partition)

    def lost(self, partition: int) -> None:
        self.printed.pop(partition, None)
        self.tell("lost", partition)

    def rewritten(self, partition: int, offset: int) -> None:
        """As in the contract."""

    def gap(self, partition: int, start: int, end: int) -> None:
        """As in the contract."""

    async def commit(self, commits: dict[int, Commit]) -> None:
        try:
            await self.consumer.commit(commits)
        except Fenced:
            self.tell("fenced")

    async def run(self) -> None:
        turn = 0
        while not self.stopping:
            try:
                await self.step(turn := turn + 1)
            except QueueUnavailable:
                await asyncio.sleep(0.05)

    async def step(self, turn: int) -> None:
        for record in await self.consumer.fetch(20, 5.0):
            self.tell("record", record.key, record.value.decode())
            self.printed[record.partition] = Commit(offset=record.offset + 1)
        if turn % 3 == 0:
            commits, self.printed = self.printed, {}
            await self.commit(commits)

    async def stop(self) -> None:
        self.stopping = True
        await self.consumer.close()


async def main(url: str, name: str, session_s: str) -> None:
    consumer = open_queue(QueueSettings(queue_url=url)).consumer("events", "group", session_s=float(session_s))
    worker, loop = Worker(name, consumer), asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []
    loop.add_signal_handler(signal.SIGTERM, lambda: tasks.append(asyncio.create_task(worker.stop())))
    await consumer.start(worker)
    await worker.run()
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    # Standard output is for the lines above.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(*sys.argv[1:]))
