"""A worker from the queue to the commit, on the memory queue."""

import asyncio
from dataclasses import replace
from typing import Any

from forebay import Handlers, PortalEvent
from forebay.processors.turn import TURN_RECORDS
from forebay.queues.contract import Commit
from forebay.schemas import names
from forebay.schemas.portal import partition_of
from tests.integration.processors.reading import TOPIC, id_of
from tests.waiting import until


async def test_events_are_handled_in_the_order_of_their_portal_and_committed(station: Any, handlers: Handlers) -> None:
    handled: list[tuple[str, int]] = []

    @handlers.on("ONCRM*")
    async def handle(event: PortalEvent) -> None:
        handled.append((event.portal, id_of(event)))
        await asyncio.sleep(0)

    for number in range(100):
        await station.send(f"p{number % 7}", id=number)
    station.start()
    await until(lambda: station.committed() == 100)

    for portal in range(7):
        mine = [number for name, number in handled if name == f"p{portal}"]
        assert mine == list(range(portal, 100, 7))


async def test_threads_keep_the_order_too(station: Any, handlers: Handlers) -> None:
    handled: list[int] = []

    @handlers.on("*")
    def handle(event: PortalEvent) -> None:
        handled.append(id_of(event))

    for number in range(50):
        await station.send("p", id=number)
    station.start()
    await until(lambda: station.committed() == 50)

    assert handled == list(range(50))


async def test_an_event_nobody_handles_is_committed_and_counted(station: Any) -> None:
    await station.send("p", "ONTASKADD")
    worker = station.start()

    await until(lambda: station.committed() == 1)

    assert worker.metrics.events_handled.labels("", "unhandled")._value.get() == 1
    assert station.dead() == []


async def test_a_queue_that_is_gone_for_a_while_costs_nothing(station: Any, handlers: Handlers) -> None:
    handled: list[int] = []

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        handled.append(id_of(event))

    await station.send("p", id=1)
    station.queue.down = True
    worker = station.start()
    await until(lambda: "queue" in worker.health._parts)
    assert not worker.health.is_ready
    station.queue.down = False
    await until(lambda: station.committed() == 1)

    assert worker.health.status == "ok"


async def test_a_commit_that_fails_is_made_with_the_next(station: Any, handlers: Handlers) -> None:
    gate = asyncio.Event()

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        await gate.wait()

    await station.send("p")
    worker = station.start()
    await until(lambda: worker._held.records == 1)
    station.queue.down = True
    gate.set()
    await until(lambda: worker.health._parts.get("commits", ("",))[0] == "degraded")
    station.queue.down = False

    await until(lambda: station.committed() == 1)


async def test_a_flood_of_one_portal_doesn_t_delay_the_others(station: Any, handlers: Handlers) -> None:
    handled: list[str] = []
    gate = asyncio.Event()

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        await gate.wait()
        handled.append(event.portal)

    quiet = [name for name in map("p{}".format, range(100)) if partition_of(name, 4) == partition_of("flood", 4)]
    for _ in range(3000):
        await station.send("flood")
    for name in quiet:
        await station.send(name)
    worker = station.start(concurrency=1)
    await until(lambda: worker._held.records == 3000 + len(quiet))
    gate.set()
    await until(lambda: len(handled) == 3000 + len(quiet))

    last = max(at for at, name in enumerate(handled) if name != "flood")
    assert last < TURN_RECORDS + len(quiet)


async def test_memory_is_bounded_and_fetching_goes_on_when_there_is_room(station: Any, handlers: Handlers) -> None:
    gate, handled = asyncio.Event(), []

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        await gate.wait()
        handled.append(event.id)

    for number in range(5000):
        await station.send(f"p{number % 10}")
    worker = station.start(max_held_records=1000)
    await until(lambda: worker._held.records >= 1000)
    for _ in range(100):
        await asyncio.sleep(0)
    most = worker._held.records
    gate.set()
    await until(lambda: station.committed() == 5000)

    assert most < 1500
    assert (worker._held.records, worker._held.bytes) == (0, 0)
    assert all(not partition.lanes for partition in worker.ownership)


async def test_what_was_finished_beyond_the_offset_is_not_handled_again(station: Any, handlers: Handlers) -> None:
    handled: list[int] = []
    stuck = asyncio.Event()

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        handled.append(id_of(event))
        if event.portal == "stuck" and not stuck.is_set():
            stuck.set()
            await asyncio.Event().wait()

    await station.send("stuck", id=0)
    for number in range(1, 200):
        await station.send(f"p{number % 20}", id=number)
    first = station.start()
    group = station.queue.group_states[TOPIC, "forebay"]
    await until(lambda: len(handled) == 200 and all(not one.has_news for one in first.ownership))
    # As after kill -9: nothing is given back, and the next owner has the commits alone.
    for partition in list(group.commits):
        first.ownership.lost(partition)
    await station.stop(first)

    station.start()
    await until(lambda: station.committed() == 200)

    assert len(handled) == 201
    assert handled[-1] == 0


async def test_a_foreign_note_is_ignored(station: Any, handlers: Handlers) -> None:
    handled: list[int] = []

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        handled.append(id_of(event))

    await station.send("p", id=1)
    for partition in range(4):
        station.queue.group_states[TOPIC, "forebay"].commits[partition] = Commit(offset=0, note=b"somebody else's")
    station.start()

    await until(lambda: handled == [1])


async def test_the_canary_s_events_are_finished_and_given_to_nobody(station: Any, handlers: Handlers) -> None:
    handled: list[str] = []

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        handled.append(event.portal)

    for key in (names.CANARY_DOMAIN, names.CANARY_MEMBER, "example.bitrix24.com"):
        await station.send(key, names.CANARY)
        await station.send(key, names.GAP)
    worker = station.start()
    await until(lambda: station.committed() == 6)

    assert handled == ["example.bitrix24.com"] * 2
    worker._tally.flush()
    assert worker.metrics.events_handled.labels("", "unhandled")._value.get() == 4


async def test_what_comes_into_a_partition_that_was_added_to_the_topic_alone_takes_no_memory_from_the_others(
    station: Any, handlers: Handlers, monkeypatch: Any
) -> None:
    handled: list[str] = []

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        handled.append(event.portal)

    await station.send("elsewhere")
    [[elsewhere]] = filter(None, station.queue.logs[TOPIC])
    added = len(station.queue.logs[TOPIC])
    station.queue.logs[TOPIC].append([replace(elsewhere, partition=added, offset=number) for number in range(100)])
    # As Kafka's, for which the topic has as many as the others have.
    monkeypatch.setattr(station.queue, "_has", lambda name: added)
    worker = station.start(max_held_records=10)
    await until(lambda: worker._consumer.positions.get(added) == 100 and handled == ["elsewhere"])

    portals = [portal for number in range(50) if partition_of(portal := f"p{number}", added + 1) != added]
    for portal in portals:
        await station.send(portal)
    await until(lambda: len(handled) == 1 + len(portals))

    assert set(handled) == {"elsewhere", *portals}
    assert station.queue.group_states[TOPIC, "forebay"].commits.get(added, Commit(offset=0)).offset == 0
    [waits] = [one.watermark.oldest_ms for one in worker.ownership if one.number == added]
    assert waits == elsewhere.timestamp_ms
