"""How a worker stops, and what it gives back, on the memory queue."""

import asyncio
import threading
from typing import Any

import pytest

from forebay import Handlers, PortalEvent
from forebay.processors.ownership import end
from forebay.processors.partitions import Partition
from forebay.queues.memory import MemoryConsumer
from tests.integration.processors.reading import id_of
from tests.waiting import until


async def test_at_a_stop_running_handlers_come_to_their_end_and_waiting_ones_stay_undone(
    station: Any, handlers: Handlers
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
    await until(lambda: not any(one.is_open for one in worker.ownership))
    gate.set()
    left_over = await station.stop(worker)

    assert (handled, left_over, station.committed()) == ([0], 0, 1)


async def test_at_a_stop_a_handler_that_goes_on_is_cancelled_after_the_grace(station: Any, handlers: Handlers) -> None:
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


async def test_stopping_works_with_the_queue_gone(station: Any, handlers: Handlers) -> None:
    @handlers.on("*")
    async def handle(event: PortalEvent) -> None: ...

    await station.send("p")
    worker = station.start()
    await until(lambda: station.committed() == 1)
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
    station: Any, handlers: Handlers
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
    await until(lambda: any(not one.is_open for one in first.ownership))
    gate.set()
    await until(lambda: station.committed() == 40)

    assert sorted(handled) == list(range(40))
    # Stored before it is given back.
    await until(lambda: len(list(first.ownership)) == len(list(second.ownership)) == 2)


async def test_a_rebalance_waits_for_a_thread_that_outlives_its_grace(
    station: Any, handlers: Handlers, monkeypatch: pytest.MonkeyPatch
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
    await until(lambda: station.committed() == 8)

    assert sorted(begun) == list(range(8))


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
