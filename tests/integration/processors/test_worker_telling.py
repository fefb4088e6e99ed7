"""What a worker tells of itself, on the memory queue."""

import asyncio
import threading
import time
from collections.abc import Collection
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from forebay import Handlers, PortalEvent, Reject
from forebay.processors.metrics import build_metrics
from forebay.queues.contract import Bounds
from forebay.queues.errors import QueueUnavailable
from forebay.schemas import names
from forebay.schemas.portal import partition_of
from tests.integration.processors.conftest import PARTITIONS
from tests.integration.processors.reading import TOPIC
from tests.waiting import until


async def test_metrics_have_their_names_and_no_portal(station: Any, handlers: Handlers) -> None:
    registry = CollectorRegistry()

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        if event.portal == "ill.bitrix24.ru":
            raise Reject("no")

    await station.send("ill.bitrix24.ru")
    await station.send("well.bitrix24.ru")
    worker = station.start(metrics=build_metrics(registry))
    await until(lambda: station.committed() == 2)
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


@pytest.mark.parametrize("batch", [None, 1, 3])
async def test_the_age_of_an_event_is_that_since_its_receipt_in_seconds(
    station: Any, handlers: Handlers, batch: int | None
) -> None:
    registry = CollectorRegistry()

    @handlers.on("*", batch=batch)
    async def handle(given: Any) -> None:
        await asyncio.sleep(0)

    for _ in range(3):
        await station.send("a.bitrix24.com", timestamp_ms=int(time.time() - 3600) * 1000)
    station.start(metrics=build_metrics(registry))
    await until(lambda: registry.get_sample_value("forebay_event_age_seconds_count") == 3)

    assert 3 * 3600 <= (registry.get_sample_value("forebay_event_age_seconds_sum") or 0) < 4 * 3600


async def test_what_waits_is_no_younger_where_memory_is_full_of_other_portals(station: Any, handlers: Handlers) -> None:
    registry, may_end, seen = CollectorRegistry(), asyncio.Event(), []

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        seen.append(event.portal)
        await may_end.wait()

    def age_s(name: str, **labels: str) -> float:
        return registry.get_sample_value(f"forebay_{name}_seconds", labels) or 0.0

    busy, starved = "a.bitrix24.com", "b.bitrix24.com"
    number = partition_of(starved, PARTITIONS)
    assert number != partition_of(busy, PARTITIONS)
    await station.send(busy)
    worker = station.start(metrics=build_metrics(registry), max_held_records=1)
    await until(lambda: seen == [busy])
    await station.send(starved, timestamp_ms=int(time.time() - 3600) * 1000)
    await worker._lag.measure_records()

    await until(lambda: age_s("lag", partition=str(number)) >= 3600)
    assert age_s("actionable_lag") >= 3600
    may_end.set()
    await until(lambda: age_s("lag", partition=str(number)) == age_s("actionable_lag") == 0)
    assert seen == [busy, starved]


async def test_a_worker_says_that_a_part_of_the_queue_does_not_answer(station: Any) -> None:
    # Nothing comes of a partition whose broker is away, and who reads does not learn why.
    worker = station.start()
    await until(lambda: worker.health.status == "ok")
    station.queue.down = True

    with capture_logs() as logs:
        await worker._lag.measure_records()
        await worker._lag.measure_records()
    told = worker.health.parts()["lag"]
    station.queue.down = False
    await worker._lag.measure_records()

    assert (told["state"], "was put down" in told["why"]) == ("degraded", True)
    [log] = [log for log in logs if log["event"] == "some of what waits is not read"]
    assert "the memory queue was put down" in log["reason"]
    assert worker.health.parts()["lag"] == {"state": "ok", "why": ""}


async def test_a_part_of_the_queue_that_does_not_answer_is_one_that_is_asked_for_nothing(
    station: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The alert comes by this age; who reads hears nothing of a broker that is away, and asks on.
    registry = CollectorRegistry()
    worker = station.start(metrics=build_metrics(registry))
    await until(lambda: worker.health.status == "ok")
    bounds = worker._lag._inspector.bounds

    async def silent(*asked: Any) -> dict[int, Bounds]:
        raise QueueUnavailable("no broker answers")

    def age_s() -> float:
        return registry.get_sample_value("forebay_poll_age_seconds") or 0.0

    monkeypatch.setattr(worker._lag._inspector, "bounds", silent)
    await worker._lag.measure_records()
    longest_s = 2 * worker._intake._fetch_s
    await until(lambda: age_s() > longest_s)
    monkeypatch.setattr(worker._lag._inspector, "bounds", bounds)
    await worker._lag.measure_records()

    await until(lambda: age_s() <= longest_s)


async def test_a_queue_that_hangs_is_told_also_while_it_takes_no_commit(
    station: Any, handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, answered = CollectorRegistry(), asyncio.Event()
    monkeypatch.setattr("forebay.processors.intake._SILENT_S", 0.05)
    worker = station.start(metrics=build_metrics(registry))
    await until(lambda: worker.health.status == "ok")
    fetch, commit = worker._consumer.fetch, worker._consumer.commit

    async def late_fetch(most: int, timeout_s: float) -> Any:
        await answered.wait()
        return await fetch(most, timeout_s)

    async def late_commit(commits: Any) -> None:
        await answered.wait()
        await commit(commits)

    monkeypatch.setattr(worker._consumer, "fetch", late_fetch)
    monkeypatch.setattr(worker._consumer, "commit", late_commit)
    with capture_logs() as logs:
        await until(lambda: not worker.health.is_ready)
        hung, age_s = worker.health.parts()["queue"], registry.get_sample_value("forebay_poll_age_seconds")
        answered.set()
        await until(lambda: worker.health.status == "ok")

    assert "has answered nothing for" in hung["why"]
    assert age_s is not None
    assert age_s > worker._intake._fetch_s
    assert [log["event"] for log in logs].count("the queue answers nothing; waiting on") == 1


async def test_the_log_names_the_event_and_no_secret(station: Any, handlers: Handlers) -> None:
    @handlers.on("*", tries=2)
    async def handle(event: PortalEvent) -> None:
        raise ConnectionError("GET /rest/deal?auth=S3CRET0000 failed")

    with capture_logs() as logs:
        await station.send("p", id=7, headers=((names.CE_TYPE, b"com.bitrix24.event.ONCRMDEALADD"),))
        station.start()
        await until(lambda: station.committed() == 1)

    tries = [log for log in logs if log["event"] == "not handled"]
    assert [(log["portal"], log["name"], log["attempt"]) for log in tries] == [
        ("p", "ONCRMDEALADD", 1),
        ("p", "ONCRMDEALADD", 2),
    ]
    [given_up] = [log for log in logs if log["event"] == "given up: dead letter written"]
    assert (given_up["portal"], given_up["name"], given_up["attempt"]) == ("p", "ONCRMDEALADD", 2)
    assert "S3CRET" not in repr(logs)


async def test_a_group_without_a_place_where_events_are_says_when_it_began(station: Any) -> None:
    await station.send("example.bitrix24.com")
    first = station.start(group="new")
    await until(lambda: len(list(first.ownership)) == 4)
    began = first.metrics.offset_reset._value.get()
    await until(lambda: bool(station.queue.group_states[TOPIC, "new"].commits))
    await station.stop(first)

    second = station.start(group="new")
    await until(lambda: len(list(second.ownership)) == 4)

    assert began > 0
    assert second.metrics.offset_reset._value.get() == 0


async def test_a_worker_says_that_another_program_withholds_what_waits(station: Any) -> None:
    # A transaction that lasts for a moment is no news; one before which nothing moves is.
    worker = station.start()
    await until(lambda: len(list(worker.ownership)) == 4)
    ends = iter([0, 1, 1, 1])
    inspector = worker._lag._inspector

    async def bounds(stream: str, only: Collection[int] | None = None) -> dict[int, Bounds]:
        end = next(ends)
        return {0: Bounds(start=0, end=end, withheld=2 if end else 0), 1: Bounds(start=0, end=0)}

    inspector.bounds = bounds
    told = []
    for _ in range(3):
        await worker._lag.measure_records()
        told.append(worker.health.parts()["lag"]["state"])
    why = worker.health.parts()["lag"]["why"]

    assert told == ["ok", "ok", "degraded"]
    assert why.startswith("nothing more of partitions 0 can be read: another program's transaction is open")
    assert worker.metrics.lag_records.labels(0)._value.get() == 3


async def test_handlers_that_hang_in_every_thread_are_told_until_one_returns(station: Any, handlers: Handlers) -> None:
    go_on = {"a.ru": threading.Event(), "b.ru": threading.Event()}

    @handlers.on("*", deadline_s=0.01)
    def handle(event: PortalEvent) -> None:
        go_on[event.portal].wait()

    def part() -> Any:
        return worker.health.parts().get("threads")

    for portal in go_on:
        await station.send(portal)
    worker = station.start(threads=2)
    try:
        await until(part)
        why = "all 2 threads have a handler that is over its deadline: no `def` handler is begun"
        assert (part(), worker.health.is_ready) == ({"state": "degraded", "why": why}, True)

        go_on["a.ru"].set()
        await until(lambda: station.committed() == 1)
        assert part() == {"state": "ok", "why": ""}
    finally:
        for one in go_on.values():
            one.set()
