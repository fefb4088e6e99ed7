"""A worker whose process stood still: nothing is begun before the queue has taken a commit of what it owns."""

import asyncio
import threading
from typing import Any

import pytest

from forebay import Handlers, PortalEvent
from forebay.processors.dedup.keys import Key
from forebay.processors.dedup.marks import MarksInMemory
from tests.clock import Clock
from tests.waiting import until

#: Far longer than a session.
GAP_S = 1000.0

#: The shortest there is, so that what is asked after a gap is asked often.
SESSION_S = 1.0


@pytest.mark.parametrize("portals", [["a"] * 3, ["a", "b", "c"]], ids=["of one portal", "of several"])
async def test_what_waits_is_begun_only_when_a_commit_was_taken(
    station: Any, handlers: Handlers, portals: list[str]
) -> None:
    hand, begun, go_on = Clock(), [], asyncio.Event()

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        begun.append(event.portal)
        await go_on.wait()

    for portal in portals:
        await station.send(portal)
    worker = station.start(present=hand, concurrency=1, session_s=SESSION_S)
    await until(lambda: begun)
    station.queue.down = True
    hand.now += GAP_S
    go_on.set()
    await until(lambda: "commits" in str(worker.health.report()))
    assert not await worker.ownership.confirm()
    assert len(begun) == 1

    station.queue.down = False

    await until(lambda: station.committed() == len(portals))
    assert await worker.ownership.confirm()
    assert sorted(begun) == portals


async def test_what_waits_for_a_thread_is_begun_only_when_a_commit_was_taken(station: Any, handlers: Handlers) -> None:
    hand, begun, go_on = Clock(), [], threading.Event()

    @handlers.on("*")
    def handle(event: PortalEvent) -> None:
        begun.append(event.portal)
        go_on.wait()

    for portal in ("a", "b", "c"):
        await station.send(portal)
    worker = station.start(present=hand, threads=1, session_s=SESSION_S)
    await until(lambda: begun)
    station.queue.down = True
    hand.now += GAP_S
    go_on.set()
    await until(lambda: "commits" in str(worker.health.report()))
    assert len(begun) == 1

    station.queue.down = False

    await until(lambda: station.committed() == 3)
    assert sorted(begun) == ["a", "b", "c"]


async def test_a_thread_that_begins_behind_a_gap_does_not_call_the_handler_before_a_commit_was_taken(
    station: Any, handlers: Handlers
) -> None:
    class Hands(Clock):
        """Moves when a thread next looks: as the process is frozen between handing an event over and its beginning."""

        is_to_freeze = False

        def __call__(self) -> float:
            if self.is_to_freeze and threading.current_thread() is not threading.main_thread():
                self.is_to_freeze, self.now = False, self.now + GAP_S
            return self.now

    hand, begun, go_on = Hands(), [], threading.Event()

    @handlers.on("*")
    def handle(event: PortalEvent) -> None:
        begun.append(event.portal)
        go_on.wait()

    for portal in ("a", "b"):
        await station.send(portal)
    worker = station.start(present=hand, threads=1, session_s=SESSION_S)
    await until(lambda: begun)
    station.queue.down = hand.is_to_freeze = True
    go_on.set()
    await until(lambda: not hand.is_to_freeze)
    assert not await worker.ownership.confirm()
    assert len(begun) == 1

    station.queue.down = False

    await until(lambda: station.committed() == 2)
    assert sorted(begun) == ["a", "b"]


async def test_a_thread_that_begins_behind_a_gap_calls_no_handler_for_a_partition_that_went_meanwhile(
    station: Any, handlers: Handlers
) -> None:
    class Hands(Clock):
        """Moves when a thread next looks, and lets nothing go on before the loop has heard that all is lost."""

        loses: Any = None

        def __call__(self) -> float:
            if self.loses and threading.current_thread() is not threading.main_thread():
                lose, self.loses = self.loses, None
                self.now += GAP_S
                asyncio.run_coroutine_threadsafe(lose(), loop).result()
            return self.now

    hand, begun, go_on, loop = Hands(), [], threading.Event(), asyncio.get_running_loop()

    @handlers.on("*")
    def handle(event: PortalEvent) -> None:
        begun.append(event.portal)
        go_on.wait()

    for _ in range(2):
        await station.send("a")
    worker = station.start(present=hand, threads=1, session_s=SESSION_S)
    await until(lambda: begun)
    [ours] = [one for one in worker.ownership if one.lanes]

    async def lose() -> None:
        worker.ownership.lost(ours.number)

    hand.loses = lose
    go_on.set()
    await until(lambda: ours.is_gone)
    await ours.idle()

    assert begun == ["a"]


async def test_an_event_whose_mark_was_looked_up_during_a_gap_is_begun_only_when_a_commit_was_taken(
    station: Any, handlers: Handlers
) -> None:
    class Frozen(MarksInMemory):
        async def seen(self, *keys: Key) -> bool:
            seen = await super().seen(*keys)
            station.queue.down = True
            hand.now += GAP_S
            return seen

    hand, begun = Clock(), []

    @handlers.on("*", dedup="id")
    async def handle(event: PortalEvent) -> None:
        begun.append(event.portal)

    await station.send("a")
    worker = station.start(present=hand, session_s=SESSION_S, marks=Frozen())
    await until(lambda: station.queue.down)
    assert not await worker.ownership.confirm()
    assert begun == []

    station.queue.down = False

    await until(lambda: station.committed() == 1)
    assert begun == ["a"]


async def test_a_partition_that_went_meanwhile_is_let_go_and_the_rest_goes_on(station: Any, handlers: Handlers) -> None:
    hand, begun = Clock(), []

    @handlers.on("*")
    async def handle(event: PortalEvent) -> None:
        begun.append(event.portal)

    worker = station.start(present=hand, session_s=SESSION_S)
    await until(lambda: len(list(worker.ownership)) == 4)
    owners = station.queue.group_states["bitrix24.events", "forebay"].owners
    del owners[2]

    hand.now += GAP_S

    await until(lambda: [one.number for one in worker.ownership] == [0, 1, 3])
    for number in range(20):
        await station.send(f"p{number}")
    fitting = [len(log) for log in station.queue.logs["bitrix24.events"]]
    await until(lambda: len(begun) == sum(fitting) - fitting[2])
