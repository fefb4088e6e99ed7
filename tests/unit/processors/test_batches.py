"""Batches: a portal's events in one list, in their order; and one that fails sinks only itself."""

import asyncio
import threading
from typing import Any

import pytest
from structlog.testing import capture_logs

from forebay import PortalEvent, Reject, Retry
from forebay.schemas import names
from tests.parking.shop import Shop, id_of

#: What a lane may hold in memory here is more than these tests send, so that nothing is parked for being many.
ROOMY: dict[str, Any] = {"max_lane_records": 1000, "max_held_records": 1000}


async def handled(given: Any) -> None:
    """Nothing to complain about."""


def test_up_to_so_many_events_of_a_portal_come_in_one_list_in_their_order(shop: Shop) -> None:
    shop.on("ONTASK*", batch=3)(handled)
    shop.send("ONTASKADD", *range(7))

    shop.start()
    shop.let(3)

    assert shop.calls == [[0, 1, 2], [3, 4, 5], [6]]
    assert shop.committed() == 7


def test_a_batch_waits_for_more_but_no_longer_than_was_said(shop: Shop) -> None:
    shop.on("ONTASK*", batch=10, batch_wait_s=0.2)(handled)
    shop.start()
    shop.let(1)
    shop.send("ONTASKADD", 1, 2)
    shop.let(0.15)
    shop.send("ONTASKADD", 3)
    assert shop.calls == []
    shop.let(0.1)

    assert shop.calls == [[1, 2, 3]]


def test_a_full_batch_waits_for_nothing(shop: Shop) -> None:
    shop.on("ONTASK*", batch=3, batch_wait_s=5)(handled)
    shop.start()
    shop.let(1)
    shop.send("ONTASKADD", 1, 2, 3)
    shop.let(0.01)

    assert shop.calls == [[1, 2, 3]]


def test_a_full_batch_is_not_begun_again_when_its_wait_would_be_over(shop: Shop) -> None:
    @shop.on("ONTASK*", batch=3, batch_wait_s=5)
    async def handler(events: list[PortalEvent]) -> None:
        await shop.nap(20)

    shop.start()
    shop.let(1)
    shop.send("ONTASKADD", 1, 2, 3)
    shop.let(1)
    shop.send("ONTASKADD", 4)
    shop.let(10)

    assert shop.calls == [[1, 2, 3]]


def test_a_batch_that_waits_for_its_next_try_waits_also_when_more_events_come(shop: Shop) -> None:
    @shop.on("ONTASK*", batch=3, batch_wait_s=1)
    async def handler(events: list[PortalEvent]) -> None:
        if len(shop.calls) == 1:
            raise Retry(after_s=10)

    shop.start(**ROOMY)
    shop.let(1)
    shop.send("ONTASKADD", 1, 2, 3)
    shop.let(1)
    shop.send("ONTASKADD", 4, 5, 6)
    shop.let(8)
    assert shop.calls == [[1, 2, 3]]
    shop.let(5)

    assert shop.at[1] - shop.at[0] >= 10


def test_no_batch_has_events_of_two_portals_or_of_two_handlers(shop: Shop) -> None:
    shop.on("ONTASK*", batch=10)(handled)
    shop.on("ONUSERADD")(handled)
    shop.send("ONTASKADD", 1, 2)
    shop.send("ONUSERADD", 3)
    shop.send("ONTASKADD", 4)
    shop.send("ONTASKADD", 11, 12, portal="other.example")

    shop.start()
    shop.let(1)

    assert sorted(shop.calls) == [[1, 2], [3], [4], [11, 12]]


def test_what_is_said_to_be_done_is_finished_and_the_rest_comes_again(shop: Shop) -> None:
    asked: list[int] = []

    @shop.on("ONTASK*", batch=5, tries=3)
    async def handler(events: list[PortalEvent]) -> None:
        if not asked:
            asked.append(1)
            raise Retry(after_s=2, done=3)

    shop.send("ONTASKADD", *range(7))
    shop.start(**ROOMY)
    shop.let(1.9)
    assert shop.calls == [[0, 1, 2, 3, 4]]
    assert shop.committed() == 3
    shop.let(2)

    assert shop.calls == [[0, 1, 2, 3, 4], [3, 4, 5, 6]]


def test_a_batch_that_is_said_to_be_all_done_and_asked_for_again_loses_nothing(shop: Shop) -> None:
    asked: list[int] = []

    @shop.on("ONTASK*", batch=5)
    async def handler(events: list[PortalEvent]) -> None:
        if not asked:
            asked.append(1)
            raise Retry(done=len(events))

    shop.send("ONTASKADD", 1, 2)
    shop.start()
    shop.let(5)

    assert shop.calls == [[1, 2], [2]]


class NotYet(Retry):
    """Of an author who doesn't call our `__init__`."""

    def __init__(self, deal: int, done: Any = None) -> None:
        self.deal, self.done = deal, done


class Never(Reject):
    """The same."""

    def __init__(self, deal: int, done: Any = None) -> None:
        self.deal, self.done = deal, done


@pytest.mark.parametrize(
    "error",
    [
        ValueError("poison"),
        Reject("poison"),
        Retry("poison", after_s=0),
        NotYet(37),
        Never(37),
        # What can't be is no number of events that are finished.
        NotYet(37, done=-1),
        Never(37, done=0.5),
    ],
)
def test_one_poison_event_is_narrowed_down_and_goes_alone_to_the_dead_letters(shop: Shop, error: Exception) -> None:
    done: list[int] = []

    @shop.on("ONTASK*", batch=50, tries=4)
    async def handler(events: list[PortalEvent]) -> None:
        if any(id_of(one) == 37 for one in events):
            raise error
        done.extend(map(id_of, events))

    shop.send("ONTASKADD", *range(120))
    shop.start(**ROOMY)
    shop.let(120)

    assert shop.dead_ids() == [37]
    assert done == [one for one in range(120) if one != 37]
    assert len(shop.calls) < 30
    assert shop.committed() == 120


def test_an_event_is_given_up_only_after_calls_for_it_alone(shop: Shop) -> None:
    alone: list[int] = []

    @shop.on("ONTASK*", batch=16, tries=3)
    async def handler(events: list[PortalEvent]) -> None:
        if len(events) == 1:
            alone.append(id_of(events[0]))
        raise ValueError("no")

    shop.send("ONTASKADD", *range(3))
    shop.start(memory_tries=10, **ROOMY)
    shop.let(120)

    assert shop.dead_ids() == [0, 1, 2]
    assert alone == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert [dict(one.headers)[names.DEAD_ATTEMPTS] for one in shop.dead()] == [b"3"] * 3


def test_the_first_that_is_not_done_has_had_a_try(shop: Shop) -> None:
    @shop.on("ONTASK*", batch=4, tries=2)
    async def handler(events: list[PortalEvent]) -> None:
        if 2 in (ids := list(map(id_of, events))):
            raise Retry(after_s=0, done=ids.index(2))

    shop.send("ONTASKADD", *range(4))
    shop.start(memory_tries=10, **ROOMY)
    shop.let(60)

    # Its tries are used up with the second; but to be given up it must have failed alone.
    assert shop.calls == [[0, 1, 2, 3], [2, 3], [2], [3]]
    assert shop.dead_ids() == [2]


def test_after_a_poison_event_the_batches_grow_again(shop: Shop) -> None:
    @shop.on("ONTASK*", batch=16)
    async def handler(events: list[PortalEvent]) -> None:
        if id_of(events[0]) == 0:
            raise Reject("no") if len(events) == 1 else ValueError("no")

    shop.send("ONTASKADD", *range(60))
    shop.start(**ROOMY)
    shop.let(60)

    assert [len(call) for call in shop.calls] == [16, 4, 1, 1, 4, 16, 16, 16, 6]


def test_a_reject_that_names_its_event_buries_that_one_and_no_other(shop: Shop) -> None:
    @shop.on("ONTASK*", batch=10)
    async def handler(events: list[PortalEvent]) -> None:
        if 2 in (ids := list(map(id_of, events))):
            raise Reject("no such task", done=ids.index(2))

    shop.send("ONTASKADD", *range(5))
    shop.start()
    shop.let(1)

    assert shop.calls == [[0, 1, 2, 3, 4], [3, 4]]
    assert shop.dead_ids() == [2]


def test_a_record_that_cannot_be_read_parts_the_batch_and_goes_to_the_dead_letters(shop: Shop) -> None:
    shop.on("ONTASK*", batch=10)(handled)
    shop.send("ONTASKADD", 1, 2)
    shop.put(b"\xc3\x01 what is this")
    shop.send("ONTASKADD", 3)

    shop.start()
    shop.let(1)

    assert shop.calls == [[1, 2], [3]]
    assert len(shop.dead()) == 1


def test_a_batch_over_its_deadline_is_cancelled_and_fewer_come_at_once(shop: Shop) -> None:
    @shop.on("ONTASK*", batch=8, deadline_s=1)
    async def handler(events: list[PortalEvent]) -> None:
        await shop.nap(0.3 * len(events))

    shop.send("ONTASKADD", *range(8))
    shop.start(**ROOMY)
    shop.let(30)

    assert shop.calls[:2] == [list(range(8)), [0, 1]]
    assert shop.dead() == []
    assert shop.committed() == 8


def test_a_portal_whose_batches_fail_is_parked_and_drained_in_order_and_in_batches(shop: Shop) -> None:
    is_down, done = [True], []

    @shop.on("ONTASK*", batch=4)
    async def handler(events: list[PortalEvent]) -> None:
        if is_down:
            raise ConnectionError("the API is down")
        done.append([id_of(one) for one in events])

    shop.send("ONTASKADD", *range(21))
    worker = shop.start()
    shop.let(30)
    assert any(one.parking and one.parking.portals for one in worker.ownership)
    assert shop.committed() == 21
    is_down.clear()
    shop.let(60)

    assert [one for batch in done for one in batch] == list(range(21))
    assert max(map(len, done)) == 4
    assert worker._held.records == worker._attendant.room.records == 0


def test_a_batch_in_hand_when_its_portal_is_parked_for_being_many_is_done_once(shop: Shop) -> None:
    @shop.on("ONTASK*", batch=4)
    async def handler(events: list[PortalEvent]) -> None:
        await shop.nap(6)

    shop.send("ONTASKADD", *range(30))
    worker = shop.start()
    shop.let(5)
    assert any(one.parking and one.parking.portals for one in worker.ownership)
    shop.let(120)

    assert [one for call in shop.calls for one in call] == list(range(30))
    assert worker._held.records == worker._attendant.room.records == 0


async def test_a_def_of_batches_over_its_deadline_is_reported_and_its_portal_waits() -> None:
    from forebay import Handlers
    from forebay.processors.calls import Calls
    from forebay.processors.outcome import Done
    from forebay.processors.testing import event

    calls, go_on, handlers = Calls(threads=1, deadline_s=0.01), threading.Event(), Handlers()

    @handlers.on("*", batch=2)
    def handler(events: list[PortalEvent]) -> None:
        assert go_on.wait(30)

    found = handlers.find("event", "ONAPPTEST")
    assert found
    with capture_logs() as logs:
        call = asyncio.create_task(calls.call(found, [event("ONAPPTEST"), event("ONAPPTEST")]))
        async with asyncio.timeout(30):
            while not logs:
                await asyncio.sleep(0.001)
        assert not call.done()
        go_on.set()
        outcome = await call
    calls.close()

    assert outcome == Done(late=True)
    assert (logs[0]["event"], logs[0]["events"]) == ("handler over its deadline", 2)
