"""Moves between queues in memory, and a target that fails in the middle."""

import asyncio

from forebay.console.moving.move import Move
from forebay.console.moving.sides import Side
from forebay.console.settings import Settings
from forebay.console.stopping import Stop
from forebay.queues.contract import Delivery, Producer, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryProducer, MemoryQueue
from tests.parking.moody import MoodyQueue


async def no_sleep(seconds: float) -> None:
    """The watch without its pauses."""


class BreakingQueue(MoodyQueue):
    """Takes so many records, and then none; None: every one."""

    def __init__(self, takes: int | None = None) -> None:
        super().__init__()
        self.takes = takes

    def producer(self) -> Producer:
        return _BreakingProducer(self) if self.takes is not None else super().producer()


class _BreakingProducer(MemoryProducer):
    def __init__(self, queue: BreakingQueue) -> None:
        super().__init__(queue)
        self._breaking = queue

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        if self._breaking.takes == 0:
            raise QueueUnavailable("it broke")
        self._breaking.takes = (self._breaking.takes or 0) - 1
        super().submit(stream, record, delivery)


def side(queue: MemoryQueue, name: str, settings: Settings) -> Side:
    """The queue as one side of a move."""
    return Side(name=name, settings=settings, queue=queue, inspector=queue.inspector())


def a_move(
    source: MemoryQueue,
    target: MemoryQueue,
    settings: Settings,
    *,
    name: str = "memory://new",
    partitions: int | None = None,
    again: bool = False,
    group: str | None = None,
) -> Move:
    """From one to the other."""
    there = settings if partitions is None else settings.model_copy(update={"partitions": partitions})
    return Move(
        source=side(source, "memory://old", settings),
        target=side(target, name, there),
        sleep=no_sleep,
        again=again,
        group=group,
    )


async def carried(move: Move) -> int:
    """Plan it and carry it out; how many records were sent."""
    counts: list[int] = []
    await asyncio.wait_for(move.carry_out(await move.plan(), Stop(), counts.append), 60)
    return sum(counts)
