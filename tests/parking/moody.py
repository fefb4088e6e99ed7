"""A queue in memory whose parked stream and dead letters take, refuse, lie or wait, as their test wants it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from forebay.queues.contract import Consumer, Delivery, Position, Producer, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryConsumer, MemoryProducer, MemoryQueue
from forebay.schemas import names

TOPIC = "events"


@dataclass(kw_only=True)
class Mood:
    """What a stream does with a record: takes it, refuses it, lies (keeps it, and tells otherwise), waits."""

    now: str = "takes"
    waiting: list[tuple["MoodyProducer", Record, "asyncio.Future[Position]"]] = field(default_factory=list)


class MoodyQueue(MemoryQueue):
    """A queue in memory, with moods."""

    def __init__(self) -> None:
        super().__init__()
        self.mood, self.letters = Mood(), Mood()
        self.moods = {names.parked(TOPIC): self.mood, names.dead(TOPIC): self.letters}
        #: Told of each record that a stream with a mood has kept.
        self.kept: Callable[[str, Record], None] = lambda stream, record: None
        #: Told of a partition that was given back, and after how many seconds.
        self.given_back: Callable[[int, float], None] = lambda partition, after_s: None

    def producer(self) -> Producer:
        return MoodyProducer(self)

    def consumer(self, stream: str, group: str, *, session_s: float = 10.0) -> Consumer:
        return MoodyConsumer(self, stream, group)


class MoodyConsumer(MemoryConsumer):
    """Tells how long its user took to give a partition back."""

    def __init__(self, queue: MoodyQueue, stream: str, group: str) -> None:
        super().__init__(queue, stream, group)
        self._moody = queue

    async def give_back(self, partition: int) -> None:
        began = asyncio.get_running_loop().time()
        await super().give_back(partition)
        self._moody.given_back(partition, asyncio.get_running_loop().time() - began)


class MoodyProducer(MemoryProducer):
    """Writes into a stream as its mood is."""

    def __init__(self, queue: MoodyQueue) -> None:
        super().__init__(queue)
        self._moody = queue

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        mood = self._moody.moods.get(stream)
        if mood is None or mood.now == "takes":
            super().submit(stream, record, delivery)
            self._moody.kept(stream, record)
            return
        if mood.now == "lies":
            self.keep(record, stream)
        if mood.now != "waits":
            raise QueueUnavailable(f"the mood {mood.now}")
        assert isinstance(delivery, asyncio.Future)
        mood.waiting.append((self, record, delivery))

    def keep(self, record: Record, stream: str = names.parked(TOPIC)) -> Position:
        """Write it, whatever the mood."""
        kept: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        super().submit(stream, record, kept)
        self._moody.kept(stream, record)
        return kept.result()
