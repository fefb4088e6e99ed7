"""A queue that real workers work on, and handlers that do as they are told."""

import asyncio
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field

from forebay import Handlers, PortalEvent
from forebay.console.letters.letters import Filter, Letter
from forebay.console.letters.resolving import open_letters
from forebay.console.reading import inspected
from forebay.console.settings import Settings
from forebay.processors.testing import event
from forebay.processors.worker import Worker
from forebay.queues.contract import Producer, Queue, Record, StoredRecord
from forebay.queues.errors import QueueUnavailable
from forebay.schemas.codec import codec, new_codec

PARTITIONS = 4

#: Yesterday: nothing that is sent later gets its time, and retention takes nothing yet.
YESTERDAY_MS = int(time.time() - 86_400) * 1000

#: A worker looks for orders every second, which is what most of these tests would wait for.
_LOOKS_EVERY_S = 0.05


@dataclass(kw_only=True)
class Program:
    """What one group's handlers do: they know every event that they have handled by its id, and fail where told to."""

    group: str = "forebay"
    #: Portal → the error of its events; or the error of one of them, by its number.
    errors: dict[str | tuple[str, int], Exception] = field(default_factory=dict)
    handled: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    calls: int = 0
    handlers: Handlers = field(default_factory=Handlers)
    _ids: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.handlers.on("ONCRM*")(self.crm)
        self.handlers.on("*")(self.other)

    async def crm(self, event: PortalEvent) -> None:
        self._handle(event)

    async def other(self, event: PortalEvent) -> None:
        self._handle(event)

    def _handle(self, event: PortalEvent) -> None:
        self.calls += 1
        number = number_of(event)
        if error := self.errors.get((event.portal, number)) or self.errors.get(event.portal):
            raise error
        if event.id not in self._ids:
            self._ids.add(event.id)
            self.handled[event.portal].append(number)

    def forget(self) -> None:
        """Know nothing any more of what was handled."""
        self._ids.clear()
        self.handled.clear()


def number_of(event: PortalEvent) -> int:
    return int(event.fields["data[FIELDS][ID]"])


@dataclass(kw_only=True)
class Site:
    """A queue, what stands in it, and the workers that run on it."""

    settings: Settings
    queue: Queue
    producer: Producer
    running: dict[Worker, "asyncio.Task[int]"] = field(default_factory=dict)
    _next_ms: int = YESTERDAY_MS

    async def send(self, portal: str, *numbers: int, name: str = "ONCRMDEALADD", at_ms: int | None = None) -> None:
        """Events of a portal, received one a second from yesterday on."""
        for number in numbers:
            self._next_ms += 1000
            value = codec().encode(event(name, data={"FIELDS": {"ID": number}}, portal=portal))
            record = Record(key=portal, value=value, timestamp_ms=at_ms or self._next_ms)
            await self.producer.send(self.settings.topic, record)

    def start(self, program: Program, **settings: object) -> Worker:
        """A worker with these handlers."""
        quick = {"retry_first_s": 0.001, "commit_interval_s": 0.02, "tries": 2, "memory_tries": 2, "drain_s": 5.0}
        given = self.settings.model_copy(update={**quick, **settings, "group": program.group})
        worker = Worker(given, program.handlers, self.queue, looks_every_s=_LOOKS_EVERY_S)
        self.running[worker] = asyncio.create_task(worker.run())
        return worker

    async def stop(self, worker: Worker) -> None:
        """Stop it, as SIGTERM does."""
        worker.stop()
        await self.running.pop(worker)

    async def dead(self, wanted: Filter | None = None) -> list[Letter]:
        """The open dead letters."""
        return await open_letters(self.settings, new_codec(), "dead", wanted or Filter())

    async def records(self, stream: str) -> list[StoredRecord]:
        """All that stands in a stream."""
        inspector = self.queue.inspector()
        found = []
        for partition, bounds in (await inspector.bounds(stream)).items():
            found += await inspector.read(stream, partition, bounds.start, 100_000)
        await inspector.close()
        return found

    async def committed(self, group: str) -> int:
        """How many records the group has finished or parked."""
        async with inspected(self.queue) as inspector:
            states = (await inspector.groups(self.settings.topic)).get(group, {})
            starts = await inspector.bounds(self.settings.topic)
        # Who owns a partition and has finished nothing of it yet is at 0, which may be before the first record.
        return sum(max(0, state.offset - starts[number].start) for number, state in states.items())

    async def all_committed(self, group: str | None = None) -> None:
        """Return when the group (the settings') has nothing left to be read."""
        sent = len(await self.records(self.settings.topic))
        async with asyncio.timeout(30):
            while True:
                # A broker that has just become the groups' coordinator has no answer yet.
                with suppress(QueueUnavailable):
                    if await self.committed(group or self.settings.group) >= sent:
                        return
                await asyncio.sleep(0.02)
