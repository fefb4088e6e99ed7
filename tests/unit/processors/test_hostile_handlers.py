"""Handlers that do at random whatever can be done, under workers that come, go and die: what is promised holds."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from forebay import PortalEvent, Reject, Retry
from tests.parking.shop import Shop, id_of

#: What a handler does with an event, and how often.
FATES = {
    "returns": 60,
    "waits": 20,
    "fails": 4,
    "asks for another try": 4,
    "asks for one much later": 0.3,
    "rejects": 2,
    "computes": 2,
    "raises KeyboardInterrupt": 0.5,
    "cancels itself and returns": 2,
    "cancels itself and waits": 1,
    "cancels itself and fails": 1,
    "leaves a timeout": 1,
}

#: What was finished so long before a worker's death may not come again: a commit interval, and one on its way.
SETTLED_S = 3.1

NAMES = ("ONCRMDEALADD", "ONCRMDEALADD", "ONTASKADD", "ONUSERADD", "ONNOBODY")


async def within(seconds: float) -> AsyncIterator[None]:
    """For who leaves it before its end."""
    async with asyncio.timeout(seconds):
        yield
        yield


@dataclass(kw_only=True)
class Chaos:
    """Handlers, and what became of events: by portal and number."""

    shop: Shop
    source: random.Random
    sent: Counter[str] = field(default_factory=Counter)
    done: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    first: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    rejected: set[tuple[str, int]] = field(default_factory=set)
    excused: set[tuple[str, int]] = field(default_factory=set)
    under_way: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    left: list[AsyncIterator[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        handlers = self.shop.world.handlers
        handlers.on("ONCRM*")(self.one)
        handlers.on("ONTASK*", batch=5)(self.several)
        handlers.on("ONUSER*", rate="50/s")(self.limited)

    async def one(self, event: PortalEvent) -> None:
        self.under_way[event.portal] += 1
        if self.under_way[event.portal] > 1:
            self.faults.append(f"{event.portal} is handled beside itself")
        try:
            await self.meet(event)
        finally:
            self.under_way[event.portal] -= 1

    async def limited(self, event: PortalEvent) -> None:
        await self.one(event)

    async def several(self, events: list[PortalEvent]) -> None:
        for number, event in enumerate(events):
            try:
                await self.one(event)
            except Reject as error:
                raise Reject("no such task", done=number) from error
            except BaseException as error:
                raise Retry(done=number) from error

    async def meet(self, event: PortalEvent) -> None:
        [fate] = self.source.choices(list(FATES), list(FATES.values()))
        task = asyncio.current_task()
        assert task is not None
        if fate in ("cancels itself and waits", "cancels itself and fails"):
            task.cancel()
        await self.take_time(fate)
        self.fail(fate)
        self.note(event.portal, id_of(event))
        if fate == "rejects":
            self.rejected.add((event.portal, id_of(event)))
            raise Reject("half a character: \ud83d")
        if fate == "cancels itself and returns":
            task.cancel()

    async def take_time(self, fate: str) -> None:
        seconds = self.source.random()
        if fate in ("waits", "cancels itself and waits"):
            await asyncio.sleep(seconds * 0.3)
        elif fate == "computes":
            self.shop.world.loop.stand_still(seconds * 0.05)
        elif fate == "leaves a timeout":
            self.left.append(within(seconds))
            await anext(self.left[-1])

    def fail(self, fate: str) -> None:
        match fate:
            case "fails" | "cancels itself and fails":
                raise ConnectionError("half a character: \ud83d")
            case "raises KeyboardInterrupt":
                raise KeyboardInterrupt
            case "asks for another try":
                raise Retry(after_s=self.source.random())
            case "asks for one much later":
                raise Retry(after_s=40)

    def note(self, portal: str, number: int) -> None:
        times = self.done[portal, number]
        if not times:
            self.first[portal].append(number)
        elif (portal, number) not in self.excused:
            self.faults.append(f"{portal} {number} came again, and nobody who had handled it is dead")
        times.append(self.shop.world.loop.time())

    def send_some(self) -> None:
        for _ in range(self.source.randrange(20)):
            portal = f"p{min(int(self.source.paretovariate(0.7)), 15)}.example"
            self.sent[portal] += 1
            self.shop.send(self.source.choice(NAMES), self.sent[portal], portal=portal)

    def disturb(self, settings: dict[str, Any]) -> None:
        world, source = self.shop.world, self.source
        workers, what = list(world.workers), source.random()
        if what < 0.1 and len(workers) < 3:
            self.shop.start(**settings)
        elif 0.1 < what < 0.2 and len(workers) > 1:
            world.stop(source.choice(workers))
        elif 0.2 < what < 0.3 and len(workers) > 1:
            since = world.loop.time() - SETTLED_S
            self.excused |= {event for event, times in self.done.items() if times[-1] > since}
            world.kill(source.choice(workers), zombies=0)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_handlers_do_nothing_is_lost_doubled_or_out_of_order(shop: Shop, seed: int) -> None:
    source = random.Random(seed)
    chaos, slots = Chaos(shop=shop, source=source), source.choice((1, 3, 8))
    settings = {
        "concurrency": slots,
        "memory_tries": source.choice((1, 2, 5)),
        "retry_first_s": 0.05,
        "max_lane_records": source.choice((5, 50)),
        "max_held_records": source.choice((60, 1000)),
        "park_first_s": 1,
        "park_longest_s": 5,
    }
    shop.start(**settings)
    for _ in range(60):
        chaos.send_some()
        shop.let(source.choice((0, 0.01, 0.1, 0.5, 3)))
        chaos.disturb(settings)
    for _ in range(400):
        shop.let(2)
        if shop.committed() == chaos.sent.total() and not any(left_in(worker) for worker in shop.world.workers):
            break

    assert chaos.faults == []
    assert shop.committed() == chaos.sent.total()
    assert all(numbers == sorted(numbers) for numbers in chaos.first.values())
    assert {(one.key, number) for one, number in zip(shop.dead(), shop.dead_ids(), strict=True)} == chaos.rejected
    for worker, running in shop.world.workers.items():
        assert not running.done()
        assert not left_in(worker)
        assert len(worker._slots._lanes._asleep) == slots


def left_in(worker: Any) -> Any:
    """What it has of events, or of portals that wait."""
    return worker._held.records or [one for one in worker.ownership if one.lanes or one.parking.portals]
