"""What handlers ask for by their options, on every real queue: its records, its groups, its parked stream."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from forebay import Handlers, PortalEvent, Reject, Retry
from forebay.processors.settings import WorkerSettings
from forebay.processors.testing import event
from forebay.processors.worker import Worker
from forebay.queues.contract import Queue, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.schemas import names
from forebay.schemas.codec import codec
from tests.cpu import work
from tests.integration.systems import SYSTEMS, of_every_system

PARTITIONS = 2
PORTALS = ("a.example", "b.example", "c.example")

#: Parked at the first failure, and back soon; a commit in each step of the loop would only cost time.
QUICK = {
    "partitions": PARTITIONS,
    "memory_tries": 1,
    "tries": 2,
    "park_first_s": 0.05,
    "park_longest_s": 0.1,
    "retry_first_s": 0.01,
    "commit_interval_s": 0.05,
    "drain_s": 5.0,
    "cpu_processes": 1,
}


class Place:
    """A queue with a topic of its own, and handlers of any group on it."""

    def __init__(self, queue: Queue, settings: dict[str, Any]) -> None:
        self.queue, self.handlers, self._settings = queue, Handlers(), settings
        self.topic: str = settings["topic"]
        #: Handler → portal → the numbers that it was given, in their order.
        self.seen: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))

    def note(self, handler: str, event: PortalEvent) -> int:
        """The event's number."""
        number = int(event.fields["data[N]"])
        self.seen[handler][event.portal].append(number)
        return number

    async def send(self, name: str, *numbers: int, file: Path | None = None, **fields: Any) -> None:
        """These events, for every portal."""
        producer = self.queue.producer()
        for portal in PORTALS:
            for number in numbers:
                made = event(name, data={"N": number, "FILE": f"{file}-{portal}"}, portal=portal, **fields)
                record = Record(key=portal, value=codec().encode(made), timestamp_ms=int(time.time() * 1000))
                await producer.send(self.topic, record)
        await producer.close()

    @asynccontextmanager
    async def working(self, *groups: str) -> AsyncIterator[None]:
        """A worker for the topic's own group and for each of these, until the block ends."""
        handlers = {self.topic: self.handlers.of(None), **{group: self.handlers.of(group) for group in groups}}
        workers = [
            Worker(WorkerSettings.model_validate(self._settings | {"group": group}), its, self.queue)
            for group, its in handlers.items()
        ]
        running = [asyncio.create_task(worker.run()) for worker in workers]
        try:
            yield
        finally:
            for worker in workers:
                worker.stop()
            await asyncio.gather(*running)

    async def handled(self, calls: int, *groups: str) -> None:
        """Return after so many calls, and when the topic's own group and these have committed all that stands in it.

        What is parked is committed too, so that tells too little where something comes again.
        """
        async with asyncio.timeout(60):
            while sum(len(numbers) for its in self.seen.values() for numbers in its.values()) < calls:
                await asyncio.sleep(0.02)
        inspector = self.queue.inspector()
        try:
            ends = {number: bounds.end for number, bounds in (await inspector.bounds(self.topic)).items()}
            async with asyncio.timeout(60):
                while not all([await self._is_at(inspector, group, ends) for group in (self.topic, *groups)]):
                    await asyncio.sleep(0.02)
        finally:
            await inspector.close()

    async def _is_at(self, inspector: Any, group: str, ends: dict[int, int]) -> bool:
        try:
            states = (await inspector.groups(self.topic)).get(group, {})
        except QueueUnavailable:
            # A new group's coordinator may still be starting.
            return False
        return all(end == 0 or (number in states and states[number].offset >= end) for number, end in ends.items())

    async def letters(self) -> list[dict[str, bytes]]:
        """The headers of all dead letters."""
        inspector, stream = self.queue.inspector(), names.dead(self.topic)
        try:
            found = [await inspector.read(stream, number, 0, 100) for number in range(PARTITIONS)]
        finally:
            await inspector.close()
        return [dict(one.headers) for records in found for one in records]


def for_all(numbers: list[int]) -> dict[str, list[int]]:
    return {portal: numbers for portal in PORTALS}


@pytest.fixture(params=of_every_system("memory", "kafka-classic"))
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    topic = f"events-{uuid4().hex[:12]}"
    base = SYSTEMS[request.param](tmp_path, request)
    queue = open_queue(base)
    await queue.ensure(names.streams(topic), PARTITIONS)
    yield Place(queue, {**base.model_dump(exclude_unset=True), **QUICK, "topic": topic})
    await queue.close()


async def test_batches_and_folding_hold_on_every_queue(place: Place) -> None:
    @place.handlers.on("ONBATCH", batch=4)
    async def in_batches(events: list[PortalEvent]) -> None:
        for done, one in enumerate(events):
            if one.fields["data[N]"] == "3":
                raise Reject("poison", done=done)
            place.note("batch", one)

    @place.handlers.on("ONFOLD", coalesce=lambda event: "one", rate="50/s")
    async def the_last(event: PortalEvent) -> None:
        place.note("fold", event)

    await place.send("ONBATCH", *range(1, 8))
    await place.send("ONFOLD", *range(1, 21))
    async with place.working():
        await place.handled(21)

    assert place.seen["batch"] == for_all([1, 2, 4, 5, 6, 7])
    for portal in PORTALS:
        folded = place.seen["fold"][portal]
        assert folded[-1] == 20
        assert len(folded) < 20
    assert [letter[names.DEAD_ERROR] for letter in await place.letters()] == [b"poison"] * 3


async def test_waits_duplicates_and_tries_hold_on_every_queue(place: Place) -> None:
    if not place.queue.promises.replay:
        pytest.skip("nothing is parked here, and so there are no more tries than memory_tries")
    asked: set[str] = set()

    @place.handlers.on("ONWAIT")
    async def later(event: PortalEvent) -> None:
        if event.id not in asked:
            asked.add(event.id)
            raise Retry("not yet", after_s=0.2)
        place.note("wait", event)

    @place.handlers.on("ONONCE", dedup="id")
    async def once(event: PortalEvent) -> None:
        place.note("once", event)

    @place.handlers.on("ONFAIL")
    async def fails(event: PortalEvent) -> None:
        place.note("fail", event)
        raise ConnectionError("the portal's API is down")

    await place.send("ONWAIT", 1, 2)
    for _ in range(2):
        await place.send("ONONCE", 1, id="0198a6a0-0000-7000-8000-000000000001")
    await place.send("ONFAIL", 1)
    async with place.working():
        await place.handled(15)
        # What was parked is committed before it is given up.
        async with asyncio.timeout(60):
            while len(await place.letters()) < 3:
                await asyncio.sleep(0.02)

    assert place.seen["wait"] == for_all([1, 2])
    assert place.seen["once"] == for_all([1])
    assert place.seen["fail"] == for_all([1, 1])
    assert [letter[names.DEAD_ERROR] for letter in await place.letters()] == [b"the portal's API is down"] * 3


async def test_processes_and_groups_hold_on_every_queue(place: Place, tmp_path: Path) -> None:
    place.handlers.on("ONAPPTEST", cpu=True)(work.number)
    group = f"{place.topic}-audit"

    @place.handlers.on("ONAPPTEST", group=group)
    async def audit(event: PortalEvent) -> None:
        if place.note("audit", event) == 2:
            raise Reject("not for the audit")

    await place.send("ONAPPTEST", *range(1, 11), file=tmp_path / "cpu")
    async with place.working(group):
        await place.handled(30, group)

    numbers = list(range(1, 11))
    for portal in PORTALS:
        assert (tmp_path / f"cpu-{portal}").read_text().split() == list(map(str, numbers))
    assert place.seen["audit"] == for_all(numbers)
    assert [letter[names.DEAD_GROUP] for letter in await place.letters()] == [group.encode()] * 3
