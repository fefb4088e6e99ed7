"""What a worker does with an event that fails, on the memory queue."""

import asyncio
from typing import Any

import pytest

from forebay import Handlers, PortalEvent, Reject, Retry
from forebay.queues.contract import Delivery, Record
from forebay.queues.errors import RecordRefused
from forebay.queues.memory import MemoryProducer
from forebay.schemas import names
from forebay.schemas.codec import codec
from tests.integration.processors.reading import TOPIC, id_of, said
from tests.waiting import until


async def test_a_failure_is_tried_again_and_holds_only_its_portal(station: Any, handlers: Handlers) -> None:
    handled: list[tuple[str, int]] = []
    healed = asyncio.Event()

    @handlers.on("*", tries=1_000_000)
    async def handle(event: PortalEvent) -> None:
        if event.portal == "ill" and not healed.is_set():
            raise ConnectionError("the API is down")
        handled.append((event.portal, id_of(event)))

    for number in range(20):
        await station.send("ill", id=number)
        await station.send("well", id=number)
    station.start(memory_tries=1_000_000, retry_longest_s=0.001)

    await until(lambda: len(handled) == 20)
    assert {portal for portal, _ in handled} == {"well"}
    healed.set()
    await until(lambda: station.committed() == 40)

    assert [number for portal, number in handled if portal == "ill"] == list(range(20))


async def test_retries_hold_no_slot(station: Any, handlers: Handlers) -> None:
    handled: list[str] = []

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        if event.portal.startswith("ill"):
            raise Retry(after_s=60)
        handled.append(event.portal)

    for number in range(30):
        await station.send(f"ill{number}")
    for number in range(30):
        await station.send(f"well{number}")
    station.start(concurrency=2)

    await until(lambda: len(handled) == 30)


async def test_what_fails_every_time_becomes_a_dead_letter_and_the_portal_goes_on(
    station: Any, handlers: Handlers
) -> None:
    handled: list[int] = []

    @handlers.on("*", tries=3)
    async def handle(event: PortalEvent) -> None:
        if id_of(event) == 1:
            raise LookupError("no such deal")
        handled.append(id_of(event))

    for number in range(3):
        await station.send("p", id=number)
    worker = station.start()
    await until(lambda: station.committed() == 3)

    (letter,) = station.dead()
    assert handled == [0, 2]
    assert said(letter, names.DEAD_ATTEMPTS) == "3"
    assert said(letter, names.DEAD_ERROR_CLASS) == "LookupError"
    assert "in handle\n" in said(letter, names.DEAD_TRACEBACK)
    assert "calls.py" not in said(letter, names.DEAD_TRACEBACK)
    assert id_of(codec().decode(letter.value)) == 1
    assert worker.metrics.dead.labels("failed")._value.get() == 1


async def test_rejected_goes_to_the_dead_letters_at_once(station: Any, handlers: Handlers) -> None:
    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        raise Reject("deals of this kind are not ours")

    await station.send("p")
    station.start()
    await until(lambda: station.committed() == 1)

    assert [(said(one, names.DEAD_ATTEMPTS), said(one, names.DEAD_ERROR)) for one in station.dead()] == [
        ("1", "deals of this kind are not ours")
    ]


async def test_an_undecodable_record_is_dead_at_once_and_the_partition_goes_on(
    station: Any, handlers: Handlers
) -> None:
    handled: list[str] = []

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        handled.append(event.portal)
        assert event.fields

    whole = codec().encode(codec().decode((await _sent(station))[0]))
    await station.send("p", value=b"noise")
    await station.send("p", value=whole[:-20])
    await station.send("p")
    station.start()
    await until(lambda: station.committed() == 4)

    assert [said(one, names.DEAD_ATTEMPTS) for one in station.dead()] == ["0", "1"]
    assert [one.value for one in station.dead()] == [b"noise", whole[:-20]]


async def _sent(station: Any) -> list[bytes]:
    await station.send("p")
    return [record.value for log in station.queue.logs[TOPIC] for record in log]


async def test_while_dead_letters_can_t_be_written_the_offset_stays_and_it_heals(
    station: Any, handlers: Handlers
) -> None:
    handled: list[str] = []

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        handled.append(event.portal)
        if event.portal == "ill":
            raise Reject("no")

    worker = station.start()
    await until(lambda: worker.health.status == "ok")
    log = station.queue.logs.pop(names.dead(TOPIC))
    await station.send("ill")
    await station.send("well")
    await until(lambda: worker.health.status == "degraded" and "well" in handled)
    before = station.committed()
    station.queue.logs[names.dead(TOPIC)] = log
    await until(lambda: station.committed() == 2)

    assert before < 2
    assert handled.count("ill") == 1
    assert worker.health.status == "ok"


async def test_a_letter_that_the_queue_refuses_is_written_without_its_traceback(
    station: Any, handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = MemoryProducer.submit

    def picky(self: MemoryProducer, stream: str, record: Record, delivery: Delivery) -> None:
        if names.DEAD_TRACEBACK in dict(record.headers):
            raise RecordRefused("too large")
        submit(self, stream, record, delivery)

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        raise Reject("no")

    monkeypatch.setattr(MemoryProducer, "submit", picky)
    await station.send("p")
    station.start()
    await until(lambda: station.committed() == 1)

    assert said(station.dead()[0], names.DEAD_ERROR) == "no"
