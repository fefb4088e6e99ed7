"""Worker processes on one topic of a real queue, events for them, and the book in which their handlers write."""

import asyncio
import json
import os
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from time import time
from uuid import uuid4

from forebay.console.settings import load_settings
from forebay.processors.testing import event
from forebay.queues.contract import Position, Queue, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.schemas.codec import codec
from forebay.schemas.names import streams
from tests.e2e.site import Site
from tests.order import HANDLERS, Book, named

PARTITIONS = 6
SEED = 20_261_125

#: Between two looks into the book.
_LOOK_S = 0.02


class Crew:
    """Workers by their names. The events' portals are drawn at random."""

    def __init__(self, site: Site, queue: Queue, topic: str, book: Book, portals: int, partitions: int) -> None:
        self.site, self._queue, self.topic, self.book, self._partitions = site, queue, topic, book, partitions
        self.portals = [f"portal-{number}.bitrix24.example" for number in range(portals)]
        self._rng, self.producer, self._last = Random(SEED), queue.producer(), 0
        #: What an event is called, in turns that are drawn at random.
        self.names: Sequence[str] = ("ONCRMDEALADD",)
        #: Portal → its events, in the order of sending.
        self.sent: dict[str, list[str]] = defaultdict(list)
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        #: Where each event stands.
        self.places: dict[str, tuple[int, int]] = {}
        #: Whoever was killed or frozen → what the group had committed by then.
        self.committed_before: dict[int, dict[int, int]] = {}
        (site.folder / "shop.py").write_text(HANDLERS)

    async def send(self, count: int) -> set[str]:
        """Send so many events, and return when they are kept."""
        names, sending = [], []
        for _ in range(count):
            self._last += 1
            made = event(
                self._rng.choice(self.names), data={"FIELDS": {"ID": self._last}}, portal=self._rng.choice(self.portals)
            )
            record = Record(key=made.portal, value=codec().encode(made), timestamp_ms=round(time() * 1000))
            names.append(named(made.id, self._last))
            self.sent[made.portal].append(names[-1])
            sending.append(self._keep(record))
        for name, place in zip(names, await asyncio.gather(*sending), strict=True):
            self.places[name] = place.partition, place.offset
        return set(names)

    async def _keep(self, record: Record) -> Position:
        # As a portal's next event is sent when the one before was answered, however often that is refused.
        async with self._turns[record.key]:
            while True:
                try:
                    return await self.producer.send(self.topic, record)
                except QueueUnavailable:
                    await asyncio.sleep(_LOOK_S)

    @property
    def can_park(self) -> bool:
        """Whether the queue lets portals in trouble wait; else their events go to the dead letters."""
        return self._queue.promises.replay

    @asynccontextmanager
    async def loaded(self, rate: float, every_s: float = 0.1) -> AsyncIterator[None]:
        """Send so many a second meanwhile. Whatever was begun is kept afterwards: none is cancelled on its way."""
        enough = asyncio.Event()

        async def load() -> None:
            while not enough.is_set():
                # Not waited for: while the queue is away, events come all the same.
                tasks.create_task(self.send(round(rate * every_s)))
                await asyncio.sleep(every_s)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load())
            yield
            enough.set()

    async def make(self) -> None:
        """Make what is missing of the topics."""
        await self._queue.ensure(streams(self.topic), self._partitions)

    def start(self, *names: str) -> None:
        """Start workers of these names."""
        for name in names:
            self.site.start(name, "process", "shop:handlers")

    def pid(self, name: str) -> int:
        """The process of a worker."""
        return self.site.running[name].pid

    async def stop(self, name: str) -> None:
        """SIGTERM; it must end well."""
        assert await asyncio.to_thread(self.site.stop, name) == 0, self.site.log(name)

    async def kill(self, name: str) -> None:
        """Kill a worker without a warning."""
        self.committed_before[self.pid(name)] = await self.committed()
        self.site.running[name].kill()
        self.book.gone(self.pid(name))

    async def freeze(self, name: str, under_way: int) -> None:
        """The same by stopping it, at a moment when it has so many events under way.

        These are all that it may have, so that it just begins none: that would be written when it goes on.
        """
        pid = self.pid(name)
        self.committed_before[pid] = await self.committed()
        while True:
            os.kill(pid, signal.SIGSTOP)
            os.waitid(os.P_PID, pid, os.WSTOPPED)
            own = Counter(line.what for line in self.book.read().lines if line.pid == pid)
            if own["began"] - own["ended"] == under_way:
                return self.book.gone(pid)
            os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(_LOOK_S)

    def wake(self, name: str) -> None:
        """Let a frozen one go on."""
        self.site.running[name].send_signal(signal.SIGCONT)

    async def works(self, name: str, more: int = 10) -> None:
        """Return when the worker has begun so many events more."""
        pid, seen = self.pid(name), len(self.book.read().lines)
        await self.until(name, lambda: sum(one.pid == pid for one in self.book.lines[seen:]) >= more)

    async def ended(self) -> None:
        """Return when every event has come to its end."""
        aim = set(self.places)
        await self.until("every event", lambda: self.book.ended >= aim)

    async def until(self, what: str, condition: Callable[[], object]) -> None:
        """Return when it is so; the book is read before each look."""

        def look() -> bool:
            self.book.read()
            return bool(condition())

        await asyncio.to_thread(self.site.wait, what, look)

    async def committed(self) -> dict[int, int]:
        """How far the group is in each partition, from its first record on."""
        offsets, inspector = await self.offsets(), self._queue.inspector()
        bounds = await inspector.bounds(self.topic)
        await inspector.close()
        return {number: max(0, offset - bounds[number].start) for number, offset in offsets.items()}

    async def uncommitted(self) -> dict[int, int]:
        """By how much the group is behind the end, in each partition where it is."""
        offsets, inspector = await self.offsets(), self._queue.inspector()
        bounds = await inspector.bounds(self.topic)
        await inspector.close()
        behind = {number: one.end - max(one.start, offsets.get(number, 0)) for number, one in bounds.items()}
        return {number: records for number, records in behind.items() if records}

    async def offsets(self) -> dict[int, int]:
        """What the group has committed in each partition."""
        inspector = self._queue.inspector()
        states = (await inspector.groups(self.topic)).get(self.topic, {})
        await inspector.close()
        return {number: state.offset for number, state in states.items()}

    async def close(self) -> None:
        """Let go of the queue."""
        await self.producer.close()


@asynccontextmanager
async def crew(
    site: Site, url: str, *, portals: int = 40, partitions: int = PARTITIONS, **settings: object
) -> AsyncIterator[Crew]:
    """A crew on a topic of its own, by whose name its group goes too."""
    topic = f"events-{uuid4().hex[:12]}"
    site.settings |= {"queue_url": url, "topic": topic, "group": topic, "partitions": str(partitions)}
    site.settings |= {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    queue = open_queue(load_settings(options={"queue_url": url, "topic": topic}, environ={}).settings)
    await queue.ensure(streams(topic), partitions)
    made = Crew(site, queue, topic, Book(site.folder / "handled.log"), portals, partitions)
    try:
        yield made
    finally:
        await made.close()
        await queue.close()
