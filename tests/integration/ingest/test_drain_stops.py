"""Who drains is told to stop, and who does not drain waits for its turn."""

import asyncio
from collections.abc import Sequence
from threading import Event

import pytest

from forebay.ingest.spool.kept import Head
from tests.spool.stores import put
from tests.spool.world import World, per_portal

LONG_S = 10


async def turns() -> None:
    """Let everything happen that waits for nothing but its turn."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_was_sent_when_the_drain_is_stopped_is_deleted_and_not_sent_again(world: World) -> None:
    worker = await world.start()
    world.broker.mode = "down"
    await world.send("a.ru", worker)
    world.broker.mode = "up"
    loop, deleting, may_write = asyncio.get_running_loop(), asyncio.Event(), Event()
    delete = worker.spool.delete

    async def delete_behind_a_write(heads: Sequence[Head]) -> None:
        loop.call_soon(deleting.set)
        await delete(heads)

    worker.spool.delete = delete_behind_a_write  # type: ignore[method-assign]
    step = worker.drain._delete

    async def hold_the_thread() -> None:
        if worker.drain.sent:
            worker.spool._thread.submit(may_write.wait)
        await step()

    worker.drain._delete = hold_the_thread  # type: ignore[method-assign]
    worker.drain.start()
    async with asyncio.timeout(LONG_S):
        await deleting.wait()
    worker.drain.stop()
    await turns()
    closing = asyncio.create_task(worker.drain.close())
    await turns()
    is_held = worker.spool.folder.draining.is_held
    may_write.set()
    await closing

    assert is_held
    assert worker.spool.counts.records == 0
    await world.heal()
    assert per_portal(world) == {"a.ru": [0]}


async def test_who_does_not_drain_lets_go_of_a_file_that_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.ingest.spool.store._LARGE_BYTES", 0)
    worker, waiting = await world.start(), await world.start()
    await waiting.spool.run(waiting.spool.store.put, [put(1)])
    while worker.spool.folder.numbers():
        await worker.step()

    waiting.drain.start()
    async with asyncio.timeout(LONG_S):
        while waiting.spool.store._files._opened:
            await asyncio.sleep(0.01)
    waiting.drain.stop()


async def test_a_stop_is_heard_in_the_moment_in_which_the_drain_has_waited_long_enough(world: World) -> None:
    drain, loop = (await world.start()).drain, asyncio.get_running_loop()
    drain.start()
    running, told = drain._running, asyncio.Event()
    assert running is not None

    def tell_when_a_wait_is_over() -> None:
        if running.cancelling():
            drain.stop()
            told.set()
        else:
            loop.call_soon(tell_when_a_wait_is_over)

    tell_when_a_wait_is_over()
    async with asyncio.timeout(LONG_S):
        await told.wait()
        await asyncio.wait([running])

    assert running.cancelled()
