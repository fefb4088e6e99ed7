"""Limits: a portal costs no more calls than its budget allows, whoever owns it; and its waiting costs nobody else."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay import Handlers, PortalEvent, Retry
from forebay.processors.buckets import Buckets
from forebay.processors.budgets import Budget
from forebay.processors.dedup.keys import Key
from forebay.processors.dedup.marks import MarksInMemory
from forebay.processors.errors import BadHandler
from forebay.queues.errors import QueueUnavailable
from tests.parking.shop import PORTAL, Shop, id_of

#: What a lane may hold in memory here is more than these tests send.
ROOMY: dict[str, Any] = {"max_lane_records": 10_000, "max_held_records": 10_000}


async def handled(given: Any) -> None:
    """Nothing to complain about."""


def most_in(at: Sequence[float], seconds: float) -> int:
    """The most calls in any span of that length."""
    return max(sum(1 for one in at if began <= one < began + seconds) for began in at)


def test_a_portal_gets_as_many_calls_as_its_rate_allows_and_no_more(shop: Shop) -> None:
    shop.on("ONTASK*", rate="2/s", burst=1)(handled)
    shop.send("ONTASKADD", *range(200))

    shop.start(**ROOMY)
    shop.let(60)

    assert 2 * 60 * 0.9 <= len(shop.at) <= 2 * 60
    assert most_in(shop.at, 10) <= 2 * 10 * 1.1
    assert shop.calls == [[one] for one in range(len(shop.calls))]


def test_a_portal_that_was_quiet_gets_its_burst_at_once(shop: Shop) -> None:
    shop.on("ONTASK*", rate="2/s", burst=10)(handled)
    shop.start(**ROOMY)
    shop.let(30)
    shop.send("ONTASKADD", *range(30))
    shop.let(1.1)

    assert len(shop.at) == 10 + 2


def test_other_portals_and_other_handlers_are_not_limited_with_it(shop: Shop) -> None:
    shop.on("ONTASK*", rate="1/min", burst=1)(handled)
    shop.on("ONUSERADD")(handled)
    for number in range(5):
        shop.send("ONTASKADD", number, portal=f"p{number}.example")
    shop.send("ONUSERADD", 9, portal="other.example")

    shop.start(**ROOMY)
    shop.let(61)

    assert shop.calls[0] == [9]
    assert len(shop.calls) == 6


def test_what_was_handled_before_costs_nothing_of_a_limit(shop: Shop) -> None:
    shop.world.marks = MarksInMemory()
    shop.on("ONTASK*", rate="6/min", burst=1, dedup=lambda event: str(id_of(event)))(handled)
    began = shop.world.loop.time()
    shop.send("ONTASKADD", *[1] * 20, 2, 3)

    shop.start(**ROOMY)
    shop.let(60)

    assert shop.calls == [[1], [2], [3]]
    assert [round(at - began) for at in shop.at] == [10, 20, 30]


def test_what_nobody_could_look_up_costs_nothing_of_a_limit(shop: Shop) -> None:
    class Away(MarksInMemory):
        async def seen(self, *keys: Key) -> bool:
            if shop.world.loop.time() < began + 25:
                raise QueueUnavailable("the database is away")
            return await super().seen(*keys)

    began = shop.world.loop.time()
    shop.world.marks = Away()
    shop.on("ONTASK*", rate="6/min", burst=1, dedup="id")(handled)
    shop.send("ONTASKADD", 1, 2)

    shop.start(**ROOMY)
    shop.let(60)

    assert shop.calls == [[1], [2]]
    assert [round(at - began) for at in shop.at] == [25, 35]


def test_handlers_with_the_same_budget_share_it(shop: Shop) -> None:
    rest = Budget("rest", "2/s", burst=1)
    shop.on("ONTASK*", rate=rest)(handled)
    shop.on("ONUSERADD", rate=rest)(handled)
    for number in range(20):
        shop.send("ONTASKADD", number)
        shop.send("ONUSERADD", number)

    shop.start(**ROOMY)
    shop.let(10)

    assert 18 <= len(shop.at) <= 20


def test_two_budgets_of_a_name_that_differ_are_refused() -> None:
    handlers = Handlers()
    handlers.on("A", rate=Budget("rest", "2/s"))(handled)

    with pytest.raises(BadHandler, match="share the budget 'rest'"):
        handlers.on("B", rate=Budget("rest", "3/s"))(handled)


def test_another_try_is_a_call_too(shop: Shop) -> None:
    @shop.on("ONTASK*", rate="1/s", burst=1)
    async def handler(event: PortalEvent) -> None:
        raise Retry(after_s=0.1)

    shop.send("ONTASKADD", 1)
    shop.start(memory_tries=1000, **ROOMY)
    shop.let(20)

    assert 18 <= len(shop.at) <= 20


def test_a_batch_is_one_call(shop: Shop) -> None:
    shop.on("ONTASK*", rate="1/s", burst=1, batch=50)(handled)
    shop.send("ONTASKADD", *range(200))

    shop.start(**ROOMY)
    shop.let(4.5)

    assert [len(call) for call in shop.calls] == [50] * 4


def test_the_limit_holds_through_restarts_deaths_and_moves(shop: Shop) -> None:
    shop.on("ONTASK*", rate="2/s", burst=5)(handled)
    shop.start()
    shop.let(10)
    shop.send("ONTASKADD", *range(500))
    for number in range(30):
        shop.let(0.7)
        one = next(iter(shop.world.workers))
        if number % 3:
            shop.start()
            shop.world.stop(one)
        else:
            shop.world.kill(one, 0)
            shop.start()

    for seconds in (1, 3, 10):
        assert most_in(shop.at, seconds) <= (5 + 2 * seconds) * 1.1


def test_who_waits_for_a_budget_holds_back_no_commit_and_takes_no_memory(shop: Shop) -> None:
    shop.on("ONTASK*", rate="1/s", burst=1)(handled)
    shop.on("ONUSERADD")(handled)
    worker = shop.start(max_lane_records=1000, max_held_records=800, concurrency=64)
    for number in range(100):
        shop.send("ONTASKADD", *range(30), portal=f"p{number}.example")
    shop.let(12)

    # 2,000 of them have not been handled, and are not in memory.
    assert worker._held.records + worker._attendant.room.records <= 400
    assert shop.committed() == 3000

    well = len(shop.calls)
    shop.send("ONUSERADD", 1000, portal="well.example")
    shop.let(0.1)
    assert [1000] in shop.calls[well:]

    shop.let(60)
    assert sum(1 for call in shop.calls if call != [1000]) == 3000


def test_a_limited_portal_loses_its_place_in_no_way_while_it_is_parked(shop: Shop) -> None:
    shop.on("ONTASK*", rate="4/s", burst=1)(handled)
    shop.start(max_lane_records=1000, max_held_records=1000)
    for number in range(20):
        shop.send("ONTASKADD", *range(number * 10, number * 10 + 10))
        shop.let(1)
    shop.let(40)

    assert shop.calls == [[one] for one in range(200)]
    # The whole time it was as fast as it may be.
    assert shop.at[-1] - shop.at[0] <= 200 / 4 * 1.1


def changed(shop: Shop, changes: int, objects: int) -> None:
    """A bulk edit, of which the events come all at once."""
    shop.send("ONCRMDEALUPDATE", *(number * 31 % objects for number in range(changes)))


def test_a_bulk_edit_takes_as_many_calls_as_it_has_objects_not_changes(shop: Shop) -> None:
    folded: list[int] = []

    @shop.on("ONCRMDEAL*", coalesce="entity", rate="2/s")
    async def handler(event: PortalEvent) -> None:
        folded.append(1 + event.folded)

    changed(shop, 10_000, 100)
    worker = shop.start(max_lane_records=1000, max_held_records=20_000)
    shop.let(20)
    assert shop.committed() >= 9_000
    assert worker._held.records + worker._attendant.room.records <= 400
    shop.let(40)

    assert sum(folded) >= 9_000
    assert len(shop.calls) <= 60 * 2
    assert {call[0] for call in shop.calls} == set(range(100))
    assert not any(one.parking and one.parking.portals for one in worker.ownership)


def test_a_bulk_edit_that_moves_from_worker_to_worker_repeats_little(shop: Shop) -> None:
    shop.on("ONCRMDEAL*", coalesce="entity", rate="2/s")(handled)
    changed(shop, 2_000, 50)
    shop.start(max_lane_records=1000, max_held_records=20_000)
    for _ in range(4):
        shop.let(6)
        one = next(iter(shop.world.workers))
        shop.start(max_lane_records=1000, max_held_records=20_000)
        shop.world.stop(one)
    shop.let(30)

    assert {call[0] for call in shop.calls} == set(range(50))
    assert len(shop.calls) <= 50 + 10
    assert shop.committed() == 2_000


rates = st.sampled_from((0.1, 0.5, 2.0, 30.0))


@given(rates, st.integers(1, 5), st.lists(st.floats(0, 20), max_size=60))
def test_a_bucket_never_gives_more_than_its_burst_and_its_rate(per_s: float, burst: int, gaps: list[float]) -> None:
    budget = Budget("rest", f"{per_s}/s", burst=burst)
    buckets, now, spent = Buckets(100.0), 100.0, list[float]()

    for gap in gaps:
        now += gap
        wait_s = buckets.wait_s(budget, PORTAL, now)
        now += wait_s
        assert buckets.wait_s(budget, PORTAL, now) == 0
        buckets.spend(budget, PORTAL, now)
        spent.append(now)

    for first, began in enumerate(spent):
        for last in range(first, len(spent)):
            assert last - first + 1 <= burst + per_s * (spent[last] - began) + 1e-3


def test_a_new_owner_begins_with_empty_buckets() -> None:
    budget, buckets = Budget("rest", "2/s", burst=50), Buckets(100.0)

    assert buckets.wait_s(budget, PORTAL, 100.0) == 0.5
    assert buckets.wait_s(budget, PORTAL, 100.5) == 0.0


def test_portals_that_are_quiet_are_forgotten_and_those_that_are_not_are_kept() -> None:
    budget, buckets = Budget("rest", "1/s", burst=5), Buckets(0.0)
    for number in range(100_000):
        now = 10 + number * 0.01
        buckets.spend(budget, f"p{number}", now)
        buckets.spend(budget, "busy", now)

    assert len(buckets._left) < 3000
    assert buckets.wait_s(budget, "busy", now) > 0
    assert buckets.wait_s(budget, "p1", now) == 0
