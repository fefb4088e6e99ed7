"""Many calls, one timer."""

import asyncio

from forebay.processors.deadlines import Deadlines


async def test_each_task_is_cancelled_at_its_own_time_and_none_that_ended() -> None:
    deadlines, cancelled = Deadlines(), []

    async def work(name: str, deadline_s: float, takes_s: float) -> None:
        watch = deadlines.start(deadline_s)
        try:
            await asyncio.sleep(takes_s)
        except asyncio.CancelledError:
            assert watch.is_over
            cancelled.append(name)
        finally:
            deadlines.end(watch)

    async with asyncio.TaskGroup() as group:
        group.create_task(work("slow", 0.02, 30))
        group.create_task(work("quick", 0.02, 0))
        group.create_task(work("patient", 30, 0.03))
        await asyncio.sleep(0.01)
        group.create_task(work("later", 0.02, 30))

    assert cancelled == ["slow", "later"]


async def test_a_line_that_is_empty_at_its_time_goes_away() -> None:
    deadlines = Deadlines()

    for _ in range(1000):
        deadlines.end(deadlines.start(0.01))
    async with asyncio.timeout(30):
        while deadlines._lines:
            await asyncio.sleep(0.001)
