"""What /metrics shows of the spool."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from forebay.ingest.metrics import IngestMetrics
from forebay.ingest.spool.spool import Spool
from forebay.queues.errors import RecordRefused
from tests.spool.world import World

#: Of the clock that the metrics look at; the records of the world are from the first milliseconds of 1970.
NOW_S = 100.0


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(folder=tmp_path)
    yield made
    await made.close()


def shown(metrics: IngestMetrics) -> dict[str, float]:
    lines = metrics.exposition().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("forebay_spool_"))
    return {name.removeprefix("forebay_spool_"): float(value) for name, value in pairs}


async def test_the_spool_shows_how_much_it_holds_and_since_when(world: World) -> None:
    worker = await world.start()
    metrics = IngestMetrics(clock=lambda: NOW_S)
    metrics.watch(worker.spool)
    empty = shown(metrics)
    world.broker.mode = "down"
    for portal in ("a.ru", "a.ru", "b.ru"):
        await world.send(portal, worker)
    # Its drain has looked what is the oldest.
    await worker.step()
    held, size = shown(metrics), sum(head.size for head in worker.spool.store.heads(0, 10))

    await world.heal()
    await worker.step()
    again = shown(metrics)

    assert (empty["records"], empty["bytes"], empty["oldest_seconds"]) == (0, 0, 0)
    assert (held["records"], held["bytes"]) == (3, size)
    assert held["max_bytes"] == worker.spool.max_bytes > size
    assert held["oldest_seconds"] == pytest.approx(NOW_S - 0.001)
    assert (again["records"], again["bytes"], again["oldest_seconds"]) == (0, 0, 0)


async def test_a_record_that_neither_queue_nor_quarantine_takes_is_shown_with_its_age(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await world.start()
    metrics = IngestMetrics(clock=lambda: NOW_S)
    metrics.watch(worker.spool)
    world.broker.mode = "down"
    await world.send("a.ru", worker)
    monkeypatch.setattr(
        worker.producer, "submit", lambda stream, record, delivery: delivery.set_exception(RecordRefused("never"))
    )
    while not worker.drain.left_alone:
        await worker.step()
    await worker.step()

    held = shown(metrics)

    assert held["records"] == 1
    assert held["oldest_seconds"] == pytest.approx(NOW_S - 0.001)


async def test_each_write_of_the_spool_is_measured_with_its_fsync(world: World) -> None:
    worker = await world.start()
    metrics = IngestMetrics()
    metrics.watch(worker.spool)
    world.broker.mode = "down"

    await world.send("a.ru", worker)
    first = shown(metrics)
    await world.send("a.ru", worker)
    second = shown(metrics)

    assert (first["fsync_seconds_count"], second["fsync_seconds_count"]) == (1, 2)
    assert 0 < first["fsync_seconds_sum"] < second["fsync_seconds_sum"]


async def test_two_workers_show_the_same_spool(world: World) -> None:
    one, other = await world.start(), await world.start()
    metrics = IngestMetrics()
    metrics.watch(other.spool)
    world.broker.mode = "down"

    await world.send("a.ru", one)

    assert shown(metrics)["records"] == 1
    assert shown(metrics)["fsync_seconds_count"] == 0


def test_a_spool_that_is_not_open_yet_shows_nothing_wrong(tmp_path: Path) -> None:
    metrics = IngestMetrics()
    metrics.watch(Spool(tmp_path, 1000))

    assert shown(metrics)["records"] == 0
