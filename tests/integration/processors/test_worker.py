"""A worker from the queue to the commit, on the memory queue."""

import asyncio
import threading
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from forebay import Handlers, PortalEvent, Reject, Retry
from forebay.processors.lanes import TURN_RECORDS
from forebay.processors.metrics import build_metrics
from forebay.processors.ownership import end
from forebay.processors.partitions import Partition
from forebay.queues.contract import Commit, Record
from forebay.queues.errors import RecordRefused
from forebay.queues.memory import MemoryConsumer, MemoryProducer
from forebay.schemas import names
from forebay.schemas.codec import codec
from forebay.schemas.portal import partition_of

TOPIC = "bitrix24.events"


def id_of(event: PortalEvent) -> int:
    data: Any = event.data
    return int(data["FIELDS"]["ID"])


def said(letter: Record, name: str) -> str:
    return dict(letter.headers)[name].decode()


async def test_events_are_handled_in_the_order_of_their_portal_and_committed(
    station: Any, handlers: Handlers, eventually: Any
) -> None:
    handled: list[tuple[str, int]] = []

    @handlers.on("ONCRM*")
    async def handle(event: PortalEvent) -> None:
        handled.append((event.portal, id_of(event)))
        await asyncio.sleep(0)

    for number in range(100):
        await station.send(f"p{number % 7}", id=number)
    station.start()
    await eventually(lambda: station.committed() == 100)

    for portal in range(7):
        mine = [number for name, number in handled if name == f"p{portal}"]
        assert mine == list(range(portal, 100, 7))


async def test_threads_keep_the_order_too(station: Any, handlers: Handlers, eventually: Any) -> None:
    handled: list[int] = []

    @handlers.on("*")
    def handle(event: PortalEvent) -> None:
        handled.append(id_of(event))

    for number in range(50):
        await station.send("p", id=number)
    station.start()
    await eventually(lambda: station.committed() == 50)

    assert handled == list(range(50))


async def test_an_event_nobody_handles_is_committed_and_counted(station: Any, eventually: Any) -> None:
    await station.send("p", "ONTASKADD")
    worker = station.start()

    await eventually(lambda: station.committed() == 1)

    assert worker.metrics.events_handled.labels("", "unhandled")._value.get() == 1
    assert station.dead() == []


async def test_a_failure_is_tried_again_and_holds_only_its_portal(
    station: Any, handlers: Handlers, eventually: Any
) -> None:
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
    station.start(retry_longest_s=0.001)

    await eventually(lambda: len(handled) == 20)
    assert {portal for portal, _ in handled} == {"well"}
    healed.set()
    await eventually(lambda: station.committed() == 40)

    assert [number for portal, number in handled if portal == "ill"] == list(range(20))


async def test_retries_hold_no_slot(station: Any, handlers: Handlers, eventually: Any) -> None:
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

    await eventually(lambda: len(handled) == 30)


async def test_what_fails_every_time_becomes_a_dead_letter_and_the_portal_goes_on(
    station: Any, handlers: Handlers, eventually: Any
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
    await eventually(lambda: station.committed() == 3)

    (letter,) = station.dead()
    assert handled == [0, 2]
    assert said(letter, names.DEAD_ATTEMPTS) == "3"
    assert said(letter, names.DEAD_ERROR_CLASS) == "LookupError"
    assert "in handle\n" in said(letter, names.DEAD_TRACEBACK)
    assert "calls.py" not in said(letter, names.DEAD_TRACEBACK)
    assert id_of(codec().decode(letter.value)) == 1
    assert worker.metrics.dead.labels("failed")._value.get() == 1


async def test_rejected_goes_to_the_dead_letters_at_once(station: Any, handlers: Handlers, eventually: Any) -> None:
    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        raise Reject("deals of this kind are not ours")

    await station.send("p")
    station.start()
    await eventually(lambda: station.committed() == 1)

    assert [(said(one, names.DEAD_ATTEMPTS), said(one, names.DEAD_ERROR)) for one in station.dead()] == [
        ("1", "deals of this kind are not ours")
    ]


async def test_an_undecodable_record_is_dead_at_once_and_the_partition_goes_on(
    station: Any, handlers: Handlers, eventually: Any
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
    await eventually(lambda: station.committed() == 4)

    assert [said(one, names.DEAD_ATTEMPTS) for one in station.dead()] == ["0", "1"]
    assert [one.value for one in station.dead()] == [b"noise", whole[:-20]]


async def _sent(station: Any) -> list[bytes]:
    await station.send("p")
    return [record.value for log in station.queue.logs[TOPIC] for record in log]


async def test_while_dead_letters_can_t_be_written_the_offset_stays_and_it_heals(
    station: Any, handlers: Handlers, eventually: Any
) -> None:
    handled: list[str] = []

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        handled.append(event.portal)
        if event.portal == "ill":
            raise Reject("no")

    worker = station.start()
    await eventually(lambda: worker.health.status == "ok")
    log = station.queue.logs.pop(names.dead(TOPIC))
    await station.send("ill")
    await station.send("well")
    await eventually(lambda: worker.health.status == "degraded" and "well" in handled)
    before = station.committed()
    station.queue.logs[names.dead(TOPIC)] = log
    await eventually(lambda: station.committed() == 2)

    assert before < 2
    assert handled.count("ill") == 1
    assert worker.health.status == "ok"


async def test_a_letter_that_the_queue_refuses_is_written_without_its_traceback(
    station: Any, handlers: Handlers, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = MemoryProducer.send

    async def picky(self: MemoryProducer, stream: str, record: Record) -> Any:
        if names.DEAD_TRACEBACK in dict(record.headers):
            raise RecordRefused("too large")
        return await send(self, stream, record)

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        raise Reject("no")

    monkeypatch.setattr(MemoryProducer, "send", picky)
    await station.send("p")
    station.start()
    await eventually(lambda: station.committed() == 1)

    assert said(station.dead()[0], names.DEAD_ERROR) == "no"


async def test_a_queue_that_is_gone_for_a_while_costs_nothing(
    station: Any, handlers: Handlers, eventually: Any
) -> None:
    handled: list[int] = []

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        handled.append(id_of(event))

    await station.send("p", id=1)
    station.queue.down = True
    worker = station.start()
    await eventually(lambda: "queue" in worker.health._parts)
    assert not worker.health.is_ready
    station.queue.down = False
    await eventually(lambda: station.committed() == 1)

    assert worker.health.status == "ok"


async def test_a_commit_that_fails_is_made_with_the_next(station: Any, handlers: Handlers, eventually: Any) -> None:
    gate = asyncio.Event()

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        await gate.wait()

    await station.send("p")
    worker = station.start()
    await eventually(lambda: worker._held.records == 1)
    station.queue.down = True
    gate.set()
    await eventually(lambda: worker.health._parts.get("commits", ("",))[0] == "degraded")
    station.queue.down = False

    await eventually(lambda: station.committed() == 1)


async def test_a_flood_of_one_portal_doesn_t_delay_the_others(
    station: Any, handlers: Handlers, eventually: Any
) -> None:
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
    await eventually(lambda: worker._held.records == 3000 + len(quiet))
    gate.set()
    await eventually(lambda: len(handled) == 3000 + len(quiet))

    last = max(at for at, name in enumerate(handled) if name != "flood")
    assert last < TURN_RECORDS + len(quiet)


async def test_memory_is_bounded_and_fetching_goes_on_when_there_is_room(
    station: Any, handlers: Handlers, eventually: Any
) -> None:
    gate, handled = asyncio.Event(), []

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        await gate.wait()
        handled.append(event.id)

    for number in range(5000):
        await station.send(f"p{number % 10}")
    worker = station.start(max_held_records=1000)
    await eventually(lambda: worker._held.records >= 1000)
    for _ in range(100):
        await asyncio.sleep(0)
    most = worker._held.records
    gate.set()
    await eventually(lambda: station.committed() == 5000)

    assert most < 1500
    assert (worker._held.records, worker._held.bytes) == (0, 0)
    assert all(not partition.lanes for partition in worker.ownership)


async def test_what_was_finished_beyond_the_offset_is_not_handled_again(
    station: Any, handlers: Handlers, eventually: Any
) -> None:
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
    await eventually(lambda: len(handled) == 200 and all(not one.has_news for one in first.ownership))
    # As after kill -9: nothing is given back, and the next owner has the commits alone.
    for partition in list(group.commits):
        first.ownership.lost(partition)
    await station.stop(first)

    station.start()
    await eventually(lambda: station.committed() == 200)

    assert len(handled) == 201
    assert handled[-1] == 0


async def test_a_foreign_note_is_ignored(station: Any, handlers: Handlers, eventually: Any) -> None:
    handled: list[int] = []

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        handled.append(id_of(event))

    await station.send("p", id=1)
    for partition in range(4):
        station.queue.group_states[TOPIC, "forebay"].commits[partition] = Commit(offset=0, note=b"somebody else's")
    station.start()

    await eventually(lambda: handled == [1])


async def test_at_a_stop_running_handlers_come_to_their_end_and_waiting_ones_stay_undone(
    station: Any, handlers: Handlers, eventually: Any
) -> None:
    started, gate, handled = asyncio.Event(), asyncio.Event(), []

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        started.set()
        await gate.wait()
        handled.append(id_of(event))

    for number in range(3):
        await station.send("p", id=number)
    worker = station.start()
    await started.wait()
    worker.stop()
    await eventually(lambda: not any(one.is_open for one in worker.ownership))
    gate.set()
    left_over = await station.stop(worker)

    assert (handled, left_over, station.committed()) == ([0], 0, 1)


async def test_at_a_stop_a_handler_that_goes_on_is_cancelled_after_the_grace(
    station: Any, handlers: Handlers, eventually: Any
) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    await station.send("p")
    worker = station.start(drain_s=0.01)
    await started.wait()

    assert await station.stop(worker) == 0
    assert cancelled.is_set()
    assert station.committed() == 0
    assert station.dead() == []


async def test_a_thread_that_hangs_is_left_behind_and_reported(station: Any, handlers: Handlers) -> None:
    started, gate = threading.Event(), threading.Event()

    @handlers.on("*")
    def handle(event: PortalEvent) -> None:
        started.set()
        gate.wait(30)

    await station.send("p")
    worker = station.start(drain_s=0.01)
    await asyncio.to_thread(started.wait, 30)
    left_over = await station.stop(worker)
    gate.set()

    assert left_over == 1
    assert station.committed() == 0


async def test_stopping_works_with_the_queue_gone(station: Any, handlers: Handlers, eventually: Any) -> None:
    @handlers.on("*")
    async def handle(event: PortalEvent) -> None: ...

    await station.send("p")
    worker = station.start()
    await eventually(lambda: station.committed() == 1)
    station.queue.down = True

    assert await station.stop(worker) == 0


async def test_a_fault_in_the_queue_s_module_stops_the_worker_loudly(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = station.start()

    async def broken(max_records: int, timeout_s: float) -> Any:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(worker._consumer, "fetch", broken)

    with pytest.raises(ZeroDivisionError):
        await station.running.pop(worker)


async def test_a_rebalance_waits_for_running_handlers_and_nothing_is_handled_twice(
    station: Any, handlers: Handlers, eventually: Any
) -> None:
    started, gate, handled = asyncio.Event(), asyncio.Event(), []

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        started.set()
        await gate.wait()
        handled.append(id_of(event))

    for number in range(40):
        await station.send(f"p{number}", id=number)
    first = station.start()
    await started.wait()
    second = station.start()
    await eventually(lambda: any(not one.is_open for one in first.ownership))
    gate.set()
    await eventually(lambda: station.committed() == 40)

    assert sorted(handled) == list(range(40))
    assert len(list(first.ownership)) == len(list(second.ownership)) == 2


async def test_a_rebalance_waits_for_a_thread_that_outlives_its_grace(
    station: Any, handlers: Handlers, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, gate, begun, grace_over = threading.Event(), threading.Event(), [], asyncio.Event()

    async def give_grace(partitions: list[Partition], grace_s: float) -> None:
        await end(partitions, grace_s)
        grace_over.set()

    monkeypatch.setattr("forebay.processors.ownership._CANCEL_S", 0.01)
    monkeypatch.setattr("forebay.processors.ownership.end", give_grace)

    @handlers.on("*")
    def handle(event: PortalEvent) -> None:
        begun.append(id_of(event))
        started.set()
        gate.wait(30)

    for number in range(8):
        await station.send(f"p{number}", id=number)
    station.start(drain_s=0.01)
    await asyncio.to_thread(started.wait, 30)
    station.start()
    await grace_over.wait()
    # What is given back now is another's before the loop comes round.
    await asyncio.sleep(0)
    gate.set()
    await eventually(lambda: station.committed() == 8)

    assert sorted(begun) == list(range(8))


async def test_metrics_have_their_names_and_no_portal(station: Any, handlers: Handlers, eventually: Any) -> None:
    registry = CollectorRegistry()

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        if event.portal == "ill.bitrix24.ru":
            raise Reject("no")

    await station.send("ill.bitrix24.ru")
    await station.send("well.bitrix24.ru")
    worker = station.start(metrics=build_metrics(registry))
    await eventually(lambda: station.committed() == 2)
    await worker._lag.measure_records()

    text = generate_latest(registry).decode()
    for name in (
        'forebay_events_handled_total{handler="',
        'outcome="rejected"} 1.0',
        "forebay_handler_seconds_bucket",
        "forebay_event_age_seconds_count 2.0",
        'forebay_dead_total{reason="rejected"} 1.0',
        'forebay_rebalances_total{change="assigned"} 4.0',
        'forebay_lag_records{partition="0"} 0.0',
        "forebay_poll_age_seconds",
    ):
        assert name in text
    assert "bitrix24.ru" not in text


async def test_the_log_names_the_event_and_no_secret(station: Any, handlers: Handlers, eventually: Any) -> None:
    @handlers.on("*", tries=2)
    async def handle(event: PortalEvent) -> None:
        raise ConnectionError("GET /rest/deal?auth=S3CRET0000 failed")

    with capture_logs() as logs:
        await station.send("p", id=7)
        station.start()
        await eventually(lambda: station.committed() == 1)

    tries = [log for log in logs if log["event"] == "not handled"]
    assert [(log["portal"], log["name"], log["attempt"]) for log in tries] == [
        ("p", "ONCRMDEALADD", 1),
        ("p", "ONCRMDEALADD", 2),
    ]
    assert any(log["event"] == "given up: dead letter written" for log in logs)
    assert "S3CRET" not in repr(logs)


async def test_while_the_queue_is_closed_a_partition_is_committed_only_as_it_goes(
    station: Any, handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, close = asyncio.Event(), MemoryConsumer.close
    before: list[int] = []

    async def asked_to_commit(self: MemoryConsumer) -> None:
        await worker.ownership.commit()
        before.append(station.committed())
        await close(self)

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        begun.set()

    monkeypatch.setattr(MemoryConsumer, "close", asked_to_commit)
    await station.send("p")
    worker = station.start(commit_interval_s=1000)
    await begun.wait()
    await station.stop(worker)

    assert before == [0]
    assert station.committed() == 1


async def test_a_group_without_a_place_where_events_are_says_when_it_began(station: Any, eventually: Any) -> None:
    await station.send("example.bitrix24.com")
    first = station.start(group="new")
    await eventually(lambda: len(list(first.ownership)) == 4)
    began = first.metrics.offset_reset._value.get()
    await eventually(lambda: bool(station.queue.group_states[TOPIC, "new"].commits))
    await station.stop(first)

    second = station.start(group="new")
    await eventually(lambda: len(list(second.ownership)) == 4)

    assert began > 0
    assert second.metrics.offset_reset._value.get() == 0


async def test_the_canary_s_events_are_finished_and_given_to_nobody(
    station: Any, handlers: Handlers, eventually: Any
) -> None:
    handled: list[str] = []

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        handled.append(event.portal)

    for key in (names.CANARY_DOMAIN, names.CANARY_MEMBER, "example.bitrix24.com"):
        await station.send(key, names.CANARY)
        await station.send(key, names.GAP)
    worker = station.start()
    await eventually(lambda: station.committed() == 6)

    assert handled == ["example.bitrix24.com"] * 2
    worker._tally.flush()
    assert worker.metrics.events_handled.labels("", "unhandled")._value.get() == 4
