"""Replays and discards that operators order, and which orders are obeyed."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from forebay import PortalEvent, Retry
from forebay.processors.parking.orders import What
from forebay.schemas import names
from tests.parking.moody import TOPIC
from tests.parking.shop import PORTAL, Shop, id_of
from tests.parking.world import PARTITIONS


async def handled(given: Any) -> None:
    """Nothing to complain about."""


@pytest.mark.parametrize("what", [What.RESUME, What.REPLAY])
def test_an_order_ends_a_wait_at_once_and_does_not_end_the_next_one_early(shop: Shop, what: What) -> None:
    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        if len(shop.calls) < 3:
            raise Retry(after_s=100)

    shop.send("ONAPPTEST", 1)
    shop.start()
    shop.let(50)
    stream, spans = (TOPIC, ((0, 1),)) if what is What.REPLAY else (names.parked(TOPIC), ())
    shop.world.order(what, PORTAL, stream, spans)
    shop.let(150)

    assert shop.at[1] - shop.at[0] < 60
    assert shop.at[2] - shop.at[1] >= 100
    assert len(shop.calls) == (4 if what is What.REPLAY else 3)


def test_what_was_loaded_when_all_that_waits_was_discarded_is_discarded_too(shop: Shop) -> None:
    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        await shop.nap(6)

    shop.start(max_lane_records=1000)
    shop.world.order(What.HOLD, PORTAL)
    shop.let(3)
    shop.send("ONAPPTEST", *range(1, 10))
    shop.let(1)
    shop.world.order(What.RESUME, PORTAL)
    while len(shop.calls) < 5:
        shop.let(0.1)

    shop.world.order(What.DISCARD, PORTAL)
    shop.let(8)

    assert shop.calls == [[number] for number in range(1, 6)]
    assert shop.dead_ids() == [6, 7, 8, 9]


def test_an_order_about_another_topic_is_not_obeyed_and_that_is_told(shop: Shop) -> None:
    shop.on("*")(handled)
    shop.start()
    shop.world.run(shop.world.queue.ensure(["others"], PARTITIONS))
    shop.send("ONAPPTEST", 1)
    shop.let(3)
    log = shop.world.queue.logs[TOPIC][shop.world.partition(PORTAL)]
    shop.world.queue.logs["others"][shop.world.partition(PORTAL)].extend(log)
    with capture_logs() as logs:
        shop.world.order(What.REPLAY, PORTAL, "others", ((0, 1),))
        shop.let(3)

    assert shop.calls == [[1]]
    assert [one["stream"] for one in logs if one["log_level"] == "error"] == ["others"]


@pytest.mark.parametrize("what", [What.HOLD, What.DISCARD])
def test_an_order_about_events_of_the_topic_can_only_be_a_replay(shop: Shop, what: What) -> None:
    shop.on("*")(handled)
    shop.start()
    shop.send("ONAPPTEST", 1)
    shop.let(3)

    shop.world.order(what, PORTAL, TOPIC, ((0, 1),))
    shop.let(3)
    shop.send("ONAPPTEST", 2)
    shop.let(3)

    assert (shop.calls, shop.dead_ids()) == ([[1], [2]], [])


def test_what_is_discarded_is_what_waited_then_and_nothing_that_came_later(shop: Shop) -> None:
    shop.on("ONTASK*")(handled)
    shop.start()
    shop.world.order(What.HOLD, PORTAL)
    shop.let(3)
    shop.send("ONTASKADD", 1, 2, 3)
    shop.let(3)

    shop.world.order(What.DISCARD, PORTAL)
    shop.world.order(What.HOLD, PORTAL)
    shop.let(3)
    shop.send("ONTASKADD", 4, 5)
    shop.let(3)
    assert (shop.calls, shop.dead_ids()) == ([], [])
    shop.world.order(What.RESUME, PORTAL)
    shop.let(5)

    assert shop.dead_ids() == [1, 2, 3]
    assert shop.calls == [[4], [5]]


def test_of_replays_those_are_discarded_that_were_ordered_before(shop: Shop) -> None:
    shop.on("ONTASK*")(handled)
    shop.start()
    shop.send("ONTASKADD", 1, 2)
    shop.let(3)
    shop.calls.clear()

    shop.world.order(What.HOLD, PORTAL)
    shop.world.order(What.REPLAY, PORTAL, TOPIC, ((0, 1),))
    shop.world.order(What.DISCARD, PORTAL)
    shop.world.order(What.HOLD, PORTAL)
    shop.world.order(What.REPLAY, PORTAL, TOPIC, ((1, 2),))
    shop.let(3)
    assert (shop.calls, shop.dead_ids()) == ([], [])
    shop.world.order(What.RESUME, PORTAL)
    shop.let(5)

    assert shop.dead_ids() == [1]
    assert shop.calls == [[2]]


def test_of_several_orders_that_were_obeyed_and_not_kept_yet_each_is_obeyed_by_the_next_worker(shop: Shop) -> None:
    shop.on("ONTASK*")(handled)
    worker = shop.start()
    shop.send("ONTASKADD", 1)
    shop.let(3)
    shop.world.feel("refuses")
    shop.world.order(What.HOLD, PORTAL)
    shop.let(3)
    shop.world.order(What.REPLAY, PORTAL, TOPIC, ((0, 1),))
    shop.let(3)
    shop.world.kill(worker, 0)
    shop.world.feel("takes")

    shop.start()
    shop.let(5)
    assert shop.calls == [[1]]
    shop.world.order(What.RESUME, PORTAL)
    shop.let(5)

    assert shop.calls == [[1], [1]]


@pytest.mark.parametrize("read_at_once", [2, 1000])
def test_what_is_gone_of_a_replay_from_its_stream_is_passed_over_and_nothing_else_comes_in_its_place(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, read_at_once: int
) -> None:
    monkeypatch.setattr("forebay.processors.parking.stream.BATCH_RECORDS", read_at_once)
    number = shop.world.partition(PORTAL)
    other = next(one for one in map("{}.example".format, range(99)) if shop.world.partition(one) == number)
    shop.on("ONTASK*")(handled)
    shop.start()
    shop.send("ONTASKADD", *range(8))
    shop.send("ONTASKADD", 8, 9, portal=other)
    shop.let(3)
    shop.calls.clear()
    shop.world.order(What.HOLD, PORTAL)
    shop.let(3)
    shop.send("ONTASKADD", 10)
    log, gone = shop.world.queue.logs[TOPIC][number], {0, 2, 7}
    log[:] = [record for record in log if record.offset not in gone]

    shop.world.order(What.REPLAY, PORTAL, TOPIC, ((0, 3), (4, 5), (7, 8)))
    # Of this one nothing is left, and the next begins with what stands behind it.
    shop.world.order(What.REPLAY, PORTAL, TOPIC, ((2, 3),))
    shop.world.order(What.REPLAY, PORTAL, TOPIC, ((3, 4),))
    shop.world.order(What.RESUME, PORTAL)
    with capture_logs() as logs:
        shop.let(8)

    assert shop.calls == [[1], [4], [3], [10]]
    told = [one["records"] for one in logs if one["event"] == "records of a parked portal are gone"]
    assert sum(told) == len([*gone, 2])


def test_each_event_of_a_replay_has_all_its_tries(shop: Shop) -> None:
    is_down = False

    @shop.on("*", tries=4)
    async def handle(event: PortalEvent) -> None:
        if is_down and shop.calls.count([id_of(event)]) < 4:
            raise ConnectionError("the portal's API is down")

    shop.send("ONAPPTEST", 1, 2)
    shop.start()
    shop.let(3)
    shop.calls.clear()
    is_down = True

    shop.world.order(What.REPLAY, PORTAL, TOPIC, ((0, 2),))
    shop.let(100)

    assert shop.calls == [*[[1]] * 4, *[[2]] * 4]
    assert shop.dead_ids() == []


def test_what_was_not_parked_yet_when_all_that_waits_was_discarded_is_discarded_too(shop: Shop) -> None:
    shop.on("ONTASK*")(handled)
    shop.start()
    shop.world.order(What.HOLD, PORTAL)
    shop.let(3)
    shop.world.feel("refuses")
    shop.send("ONTASKADD", 1, 2, 3)
    shop.let(3)

    shop.world.order(What.DISCARD, PORTAL)
    shop.let(3)
    shop.world.feel("takes")
    shop.send("ONTASKADD", 4)
    shop.let(10)

    assert shop.dead_ids() == [1, 2, 3]
    assert shop.calls == [[4]]


def test_a_replay_goes_on_where_it_was_when_another_worker_follows(shop: Shop) -> None:
    seconds = 0.0

    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        await shop.nap(seconds)

    shop.send("ONAPPTEST", *range(1, 7))
    worker = shop.start(max_lane_records=1000)
    shop.let(3)
    seconds = 1.0
    shop.calls.clear()
    shop.world.order(What.REPLAY, PORTAL, TOPIC, ((0, 6),))
    while len(shop.calls) < 3:
        shop.let(0.1)
    shop.world.stop(worker)
    shop.start()
    shop.let(30)

    assert shop.calls == [[number] for number in range(1, 7)]
