"""A portal that sends more than `portal_rate`: its events wait in the spool, and nobody else's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from forebay.ingest.settings import IngestSettings
from forebay.ingest.spool import ahead
from forebay.ingest.spool.opening import has_spool
from forebay.ingest.spool.pace import Pace
from forebay.ingest.spool.spool import Spool
from tests.clock import Clock
from tests.spool.world import Worker, World, per_portal
from tests.unit.ingest.conftest import EVENT, running


@asynccontextmanager
async def paced(folder: Path, clock: Callable[[], float], max_bytes: int = 1 << 30) -> AsyncIterator[World]:
    """Five at once and then one a second; out of the spool one a second."""
    world = World(folder=folder, max_bytes=max_bytes, paces=(Pace(1, 5, clock=clock), Pace(1, 1, clock=clock)))
    yield world
    await world.close()


async def drained_a_while(worker: Worker) -> None:
    for _ in range(10):
        worker.producer.deliver_all()
        await worker.settled()
        await worker.step()
    worker.producer.deliver_all()


async def test_what_is_above_the_rate_waits_in_its_order_and_nobody_else_does(tmp_path: Path) -> None:
    time = Clock(1000.0)
    async with paced(tmp_path, time) as world:
        worker = await world.start()
        flood = [await world.send("a.ru", worker) for _ in range(12)]
        other = await world.send("b.ru", worker)
        worker.producer.deliver_all()
        await worker.settled()

        assert [call.kept.result() for call in flood] == [False] * 5 + [True] * 7
        assert other.kept.result() is False
        assert per_portal(world) == {"a.ru": [0, 1, 2, 3, 4], "b.ru": [12]}

        for sent in range(6, 13):
            await drained_a_while(worker)
            assert per_portal(world)["a.ru"] == list(range(sent))
            time.now += 1
        world.judge()


async def test_a_portal_that_keeps_to_the_rate_never_meets_the_spool(tmp_path: Path) -> None:
    time = Clock(1000.0)
    async with paced(tmp_path, time) as world:
        worker = await world.start()
        for _ in range(30):
            call = await world.send("a.ru", worker)
            worker.producer.deliver_all()
            await worker.settled()
            assert call.kept.result() is False
            time.now += 1


async def test_when_the_spool_takes_nothing_the_rate_is_forgotten_and_not_the_event(tmp_path: Path) -> None:
    async with paced(tmp_path, Clock(1000.0), max_bytes=10) as world:
        worker = await world.start()
        flood = [await world.send("a.ru", worker) for _ in range(12)]
        worker.producer.deliver_all()
        await worker.settled()

        assert [call.kept.result() for call in flood] == [False] * 12
        assert per_portal(world) == {"a.ru": list(range(12))}


async def test_a_slow_lane_that_takes_half_of_the_spool_is_emptied_as_fast_as_it_goes(tmp_path: Path) -> None:
    async with paced(tmp_path, Clock(1000.0), max_bytes=1000) as world:
        worker = await world.start()
        for _ in range(12):
            await world.send("a.ru", worker)
        held = worker.spool.counts.size
        worker.producer.deliver_all()
        await drained_a_while(worker)

        assert held > 500 > worker.spool.counts.size
        assert in_order(per_portal(world)["a.ru"])


async def test_a_slow_lane_with_very_many_events_is_emptied_as_fast_as_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "_KNOWN", 8)
    async with paced(tmp_path, Clock(1000.0)) as world:
        worker = await world.start()
        for _ in range(15):
            await world.send("a.ru", worker)
        worker.producer.deliver_all()
        await drained_a_while(worker)

        # Five went at once; of ten, those above half of what is known ahead do not wait.
        assert len(per_portal(world)["a.ru"]) >= 10
        assert in_order(per_portal(world)["a.ru"])


def in_order(numbers: list[int]) -> bool:
    return numbers == list(range(len(numbers)))


def test_with_a_rate_there_is_a_spool_in_front_of_a_file_on_the_same_disk_too(tmp_path: Path) -> None:
    assert not has_spool(IngestSettings(data_dir=tmp_path))
    assert has_spool(IngestSettings(data_dir=tmp_path, portal_rate=5))


async def test_a_flooding_portal_is_answered_at_once_and_stands_in_its_order(tmp_path: Path) -> None:
    flood = [EVENT.replace("[ID]=9", f"[ID]={number}") for number in range(26)]
    async with running(spool=Spool(tmp_path, 1 << 30), portal_rate=2, data_dir=tmp_path) as ingest:
        answers = [await ingest.post(body) for body in flood]
        beside = await ingest.post(EVENT.replace("A.Bitrix24.ru", "b.bitrix24.ru"))
        at_once = [record.key for record in ingest.records()]
        while len(ingest.records()) < 27:
            await asyncio.sleep(0.05)

    assert {answer.status_code for answer in [*answers, beside]} == {200}
    assert "b.bitrix24.ru" in at_once and len(at_once) < 27
    assert subjects(ingest.records(), "a.bitrix24.ru") == [str(number).encode() for number in range(26)]


def subjects(records: object, portal: str) -> list[bytes]:
    return [dict(record.headers)["ce_subject"] for record in records if record.key == portal]  # type: ignore[attr-defined]  # records of the memory queue
