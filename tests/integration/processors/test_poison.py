"""What can't be handled, in the middle of a portal's events, on real queues; and dead letters that nobody takes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient

from forebay import Handlers, PortalEvent, Reject
from forebay.processors.settings import WorkerSettings
from forebay.processors.testing import event
from forebay.processors.worker import Worker
from forebay.queues.contract import Inspector, Queue, Record, StoredRecord
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from forebay.schemas.codec import codec
from tests.waiting import until

#: As large as a body may be, nearly.
LARGE = "x" * 1_000_000

PORTAL, OTHER = "poisoned.example", "well.example"


@dataclass
class Place:
    """A queue with a topic of one partition, its handlers, and what these were given."""

    queue: Queue
    settings: dict[str, Any]
    topic: str
    handlers: Handlers = field(default_factory=Handlers)
    handled: list[tuple[str, int]] = field(default_factory=list)
    is_down: bool = False

    def __post_init__(self) -> None:
        self.handlers.on("*")(self._handle)

    async def _handle(self, event: PortalEvent) -> None:
        number = int(event.fields["data[FIELDS][ID]"])
        if number == 0:
            raise Reject("no such deal")
        if self.is_down and len(event.fields.get("data[FIELDS][TEXT]", "")) == len(LARGE):
            raise ConnectionError("the portal's API is down")
        self.handled.append((event.portal, number))

    async def send(self, portal: str, value: bytes | int, text: str = "") -> None:
        """An event of that number, or a value as it is."""
        if isinstance(value, int):
            made = event("ONCRMDEALADD", data={"FIELDS": {"ID": value, "TEXT": text}}, portal=portal)
            value = codec().encode(made)
        producer = self.queue.producer()
        await producer.send(self.topic, Record(key=portal, value=value, timestamp_ms=1_790_000_000_000))
        await producer.close()

    def worker(self) -> Worker:
        """A worker with short waits."""
        quick = {"memory_tries": 1, "park_first_s": 0.3, "park_longest_s": 0.5, "retry_first_s": 0.2}
        # Nothing is given up for its tries, however long a test takes.
        quick |= {"tries": 1_000_000}
        return Worker(WorkerSettings.model_validate({**self.settings, **quick}), self.handlers, self.queue)

    async def letters(self) -> list[StoredRecord]:
        """The dead letters; none where there is no such stream."""
        return await self._all(names.dead(self.topic))

    async def _all(self, stream: str) -> list[StoredRecord]:
        inspector: Inspector = self.queue.inspector()
        try:
            return await inspector.read(stream, 0, 0, 100)
        finally:
            await inspector.close()


@pytest.fixture(params=["sqlite", "redis", pytest.param("kafka", marks=pytest.mark.kafka)])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    topic = f"events-{uuid4().hex[:12]}"
    settings: dict[str, Any] = {"topic": topic, "group": topic, "partitions": 1, "data_dir": tmp_path}
    if request.param == "kafka":
        settings["queue_url"] = f"kafka://{request.getfixturevalue('kafka').bootstrap}"
    if request.param == "redis":
        settings["queue_url"] = request.getfixturevalue("redis_url")
    queue = open_queue(QueueSettings.model_validate(settings))
    await queue.ensure(names.streams(topic), 1)
    yield Place(queue, settings, topic)
    await queue.close()


async def test_poison_goes_to_the_dead_letters_as_it_was_and_what_is_large_is_parked(
    place: Place,
) -> None:
    place.is_down = True
    await place.send(PORTAL, 1)
    for poison in (b"junk", b"", b"\xc3\x01" + bytes(100)):
        await place.send(PORTAL, poison)
    await place.send(PORTAL, 2, LARGE)
    await place.send(PORTAL, 3)
    await place.send(OTHER, 1)
    worker = place.worker()
    running = asyncio.create_task(worker.run())

    await until(lambda: (OTHER, 1) in place.handled and worker.metrics.parked_records._value.get() == 2)
    assert place.handled.count((PORTAL, 1)) == 1
    assert (PORTAL, 3) not in place.handled
    place.is_down = False
    await until(lambda: (PORTAL, 3) in place.handled)
    worker.stop()
    await running

    assert [one for one in place.handled if one[0] == PORTAL] == [(PORTAL, 1), (PORTAL, 2), (PORTAL, 3)]
    letters = await place.letters()
    assert [letter.value for letter in letters] == [b"junk", b"", b"\xc3\x01" + bytes(100)]
    assert {dict(letter.headers)[names.DEAD_ERROR_CLASS].decode().split(".")[-1] for letter in letters} == {
        "UndecodableEvent"
    }


@pytest.mark.kafka
async def test_without_a_stream_for_dead_letters_their_portals_wait_and_it_heals(kafka: Any, tmp_path: Path) -> None:
    topic = f"events-{uuid4().hex[:12]}"
    settings: dict[str, Any] = {"topic": topic, "group": topic, "partitions": 1, "data_dir": tmp_path}
    settings["queue_url"] = f"kafka://{kafka.bootstrap}"
    queue = open_queue(QueueSettings.model_validate(settings))
    place = Place(queue, settings, topic)
    await queue.ensure(names.streams(topic), 1)
    worker = place.worker()
    running = asyncio.create_task(worker.run())
    await place.send(OTHER, 1)
    await until(lambda: (OTHER, 1) in place.handled)
    with AdminClient({"bootstrap.servers": kafka.bootstrap}) as client:
        client.delete_topics([names.dead(topic)])[names.dead(topic)].result(30)

    await place.send(PORTAL, 0)
    await place.send(PORTAL, 1)
    await place.send(OTHER, 2)
    await until(lambda: (OTHER, 2) in place.handled)
    await until(lambda: "dead_letters" in str(worker.health.report()) and worker.health.status == "degraded")
    assert (PORTAL, 1) not in place.handled

    await queue.ensure(names.streams(topic), 1)
    await until(lambda: (PORTAL, 1) in place.handled)
    worker.stop()
    await running

    letters = await place.letters()
    await queue.close()
    assert [dict(letter.headers)[names.DEAD_ERROR] for letter in letters] == [b"no such deal"]
