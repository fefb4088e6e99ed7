"""Events of a portal that never wait are done in one go and finished together, and nobody can tell."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from forebay import PortalEvent, Reject
from forebay.processors.reading import Reading
from forebay.processors.turn import TURN_RECORDS
from forebay.processors.worker import Worker
from forebay.queues.contract import StoredRecord
from forebay.schemas import names
from tests.parking.shop import Shop, id_of

#: Tries that fail are made again in memory, within a second or so.
PATIENT: dict[str, Any] = {"tries": 3, "memory_tries": 3, "retry_first_s": 0.1}


def tries(worker: Worker, outcome: str) -> float:
    """How many ended so."""
    worker._tally.flush()
    found = [one for metric in worker.metrics.events_handled._metric.collect() for one in metric.samples]
    return sum(one.value for one in found if one.labels.get("outcome") == outcome and one.name.endswith("_total"))


def test_what_is_done_is_committed_while_a_later_one_waits(shop: Shop) -> None:
    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        if id_of(event) == 3:
            await shop.nap(60)

    shop.send("ONAPPTEST", 1, 2, 3, 4)
    worker = shop.start()
    shop.let(10)

    assert shop.calls == [[1], [2], [3]]
    assert shop.committed() == 2
    assert tries(worker, "done") == 2
    assert worker._held.records == 2


def test_one_that_fails_in_the_middle_is_tried_again_alone(shop: Shop) -> None:
    failures = Counter({3: 2})

    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        failures[id_of(event)] -= 1
        if failures[id_of(event)] >= 0:
            raise ConnectionError

    shop.send("ONAPPTEST", 1, 2, 3, 4, 5)
    worker = shop.start(**PATIENT)
    shop.let(10)

    assert shop.calls == [[1], [2], [3], [3], [3], [4], [5]]
    assert shop.committed() == 5
    assert (tries(worker, "done"), tries(worker, "failed")) == (5, 2)
    assert worker._held.records == 0


def test_each_has_all_its_tries_and_no_more_whatever_the_one_before_it_took(shop: Shop) -> None:
    seen: Counter[int] = Counter()

    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        seen[id_of(event)] += 1
        if id_of(event) == 2 or seen[id_of(event)] < PATIENT["tries"]:
            raise ConnectionError

    shop.send("ONAPPTEST", 1, 2, 3)
    shop.start(**PATIENT)
    shop.let(10)

    assert shop.calls == [[1], [1], [1], [2], [2], [2], [3], [3], [3]]
    assert shop.dead_ids() == [2]


def test_a_dead_letter_in_the_middle_is_that_one(shop: Shop) -> None:
    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        if id_of(event) == 2:
            raise Reject("no such deal")

    shop.send("ONAPPTEST", 1, 2, 3)
    shop.start()
    shop.let(10)

    assert shop.calls == [[1], [2], [3]]
    assert shop.dead_ids() == [2]
    assert shop.committed() == 3


@pytest.mark.parametrize("naps_s", [None, 0.1])
def test_a_dead_letter_s_traceback_begins_with_the_handler(shop: Shop, naps_s: float | None) -> None:
    async def handle(event: PortalEvent) -> None:
        if naps_s is not None:
            await shop.nap(naps_s)
        raise Reject("no such deal")

    shop.world.handlers.on("*")(handle)
    shop.send("ONAPPTEST", 1)
    shop.start()
    shop.let(10)

    (letter,) = shop.dead()
    first = dict(letter.headers)[names.DEAD_TRACEBACK].splitlines()[1]
    assert first.endswith(b", in handle")


def test_what_nobody_wants_is_finished_among_the_others(shop: Shop) -> None:
    @shop.on("ONCRM*")
    async def handle(event: PortalEvent) -> None:
        pass

    for number in range(6):
        shop.send(("ONCRMDEALADD", "ONTASKADD")[number % 2], number)
    worker = shop.start()
    shop.let(10)

    assert shop.calls == [[0], [2], [4]]
    assert shop.committed() == 6
    assert (tries(worker, "done"), tries(worker, "unhandled")) == (3, 3)


def test_a_fault_leaves_done_what_is_done(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Reading.read

    def read(self: Reading, record: StoredRecord, *more: Any) -> Any:
        if record.offset == 2:
            raise RuntimeError("a fault of ours")
        return usual(self, record, *more)

    monkeypatch.setattr(Reading, "read", read)

    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        pass

    shop.send("ONAPPTEST", 1, 2, 3)
    worker = shop.start()
    with pytest.raises(RuntimeError, match="a fault of ours"):
        shop.world.run(asyncio.wait_for(shop.world.workers.pop(worker), 60))

    assert shop.calls == [[1], [2]]
    assert shop.committed() == 2


def test_a_turn_ends_amid_events_that_take_its_time(shop: Shop) -> None:
    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        # Computes: nothing else runs, and the clock goes on.
        shop.world.loop.stand_still(0.015)

    shop.send("ONAPPTEST", 1, 2, 3, 4)
    shop.send("ONAPPTEST", 9, portal="other.example")
    shop.start()
    shop.let(10)

    assert shop.calls == [[1], [2], [9], [3], [4]]


def test_a_turn_counts_what_is_done_at_once_and_what_waits_in_between(shop: Shop) -> None:
    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        if id_of(event) % 10 == 5:
            await asyncio.sleep(0)

    shop.send("ONAPPTEST", *range(3 * TURN_RECORDS))
    shop.send("ONAPPTEST", 999, portal="other.example")
    shop.start(concurrency=1)
    shop.let(10)

    assert shop.calls.index([999]) == TURN_RECORDS
    assert len(shop.calls) == 3 * TURN_RECORDS + 1


def test_after_however_many_handlers_that_end_at_once_everything_else_gets_its_chance(shop: Shop) -> None:
    gaps: list[float] = []

    async def look_at_the_clock() -> None:
        last = shop.world.loop.time()
        while True:
            await asyncio.sleep(0.001)
            gaps.append(shop.world.loop.time() - last)
            last += gaps[-1]

    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        if id_of(event):
            shop.world.loop.stand_still(0.001)
        else:
            await shop.nap(1)

    for number in range(100):
        shop.send("ONAPPTEST", *range(33), portal=f"p{number}.example")
    shop.start(concurrency=100, max_lane_records=1000, max_held_records=10_000)
    looking = shop.world.loop.create_task(look_at_the_clock())
    shop.let(20)
    looking.cancel()

    assert len(shop.calls) == 3300
    # A timer takes three iterations of the loop: to be over, to wake its task, and to let that run.
    assert max(gaps) < 0.25


def test_what_was_counted_is_told_at_the_end(shop: Shop) -> None:
    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        pass

    worker = shop.start(commit_interval_s=60)
    shop.let(5)
    shop.send("ONAPPTEST", 1, 2, 3)
    shop.let(1)
    shop.world.stop(worker)

    found = [one for metric in worker.metrics.events_handled._metric.collect() for one in metric.samples]
    assert [one.value for one in found if one.name.endswith("_total")] == [3]
