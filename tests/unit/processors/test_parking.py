"""Parking in virtual time: hours of trouble in a moment."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from forebay import PortalEvent, Retry
from forebay.processors.held import Held
from forebay.processors.lanes import Lanes
from forebay.processors.notes import Note, Place
from forebay.processors.parking.orders import What
from forebay.processors.parking.parking import Parking
from forebay.processors.parking.stream import ParkedStream
from forebay.processors.partitions import Partition
from forebay.queues.contract import PlacedRecord
from forebay.queues.memory import MemoryQueue
from forebay.schemas import names
from tests.parking.moody import TOPIC
from tests.parking.shop import PORTAL, Shop, id_of
from tests.parking.world import World


def test_hundreds_of_portals_in_trouble_take_no_more_memory_than_one_and_come_back_in_order(world: World) -> None:
    troubled = [f"p{number}.example" for number in range(500)]
    world.failing.update(troubled)
    worker, most = world.start(), 0
    for _ in range(12):
        for portal in troubled:
            world.send(portal, 1)
        world.send("well.example", 1)
        world.let(0.5)
        most = max(most, worker._held.records)
    world.let(60)

    # What was fetched at once, and the little that each portal has on its way to the parked stream.
    assert most < 60 + 500 + 501
    assert worker._held.records == 0
    assert world.done["well.example"] == list(range(1, 13))
    assert sum(commit.offset for commit in world.commits().values()) == 12 * 501

    world.heal()
    world.judge()


def test_a_portal_that_fails_for_hours_is_tried_ever_less_often_and_nobody_after_reads_all_of_it(world: World) -> None:
    world.start()
    world.failing.add("a.example")
    world.send("a.example", 3)
    world.let(4 * 3600)

    # Every twenty seconds here, and each time a line about it.
    assert len(world.queue.logs[names.parked(TOPIC)][world.partition("a.example")]) < 4 * 3600 / 20 + 10
    place = world.place("a.example")
    assert place.position >= len(world.queue.logs[names.parked(TOPIC)][world.partition("a.example")]) - 1

    world.heal()
    world.judge()


def test_what_is_done_behind_what_waited_is_committed(world: World) -> None:
    world.start()
    world.failing.add("a.example")
    world.send("a.example", 3)
    world.let(5)
    world.failing.clear()
    world.takes_s["a.example"] = 1.0
    while not world.done["a.example"]:
        world.let(0.1)
    # All that waits is in memory again.
    world.let(1)
    world.send("a.example", 3)

    world.heal()
    world.judge()


def test_a_flood_does_not_stand_in_the_way_of_others(world: World) -> None:
    worker = world.start()
    world.takes_s["flood.example"] = 0.5
    world.let(0.1)
    world.send("flood.example", 400)
    for number in range(1, 40):
        world.send("well.example", 1)
        world.let(1.0)
        if number > 10:
            assert world.done["well.example"][-1] == number
    assert worker._held.records < 400

    world.heal()
    world.judge()


def test_a_portal_can_be_held_before_it_has_any_event(world: World) -> None:
    world.start()
    world.order(What.HOLD, "a.example")
    world.let(5)
    world.held.add("a.example")
    world.send("a.example", 3)
    world.let(60)

    assert world.done["a.example"] == []

    world.heal()
    world.judge()


def test_it_is_measured_how_many_are_parked_with_how_much_and_since_when(world: World) -> None:
    metrics, measured = world.start().metrics, []

    def measure() -> tuple[float, float, float]:
        oldest_s = metrics.parked_oldest._value.get()
        return metrics.parked_portals._value.get(), metrics.parked_records._value.get(), round(oldest_s, -1)

    for portal in ("a.example", "b.example"):
        world.order(What.HOLD, portal)
        world.let(2)
        world.send(portal, 3)
        world.let(98)
        measured.append(measure())
    for portal in ("a.example", "b.example"):
        world.order(What.RESUME, portal)
    world.let(100)

    assert measured == [(1, 3, 100), (2, 6, 200)]
    assert measure() == (0, 0, 0)


def test_a_worker_says_that_it_is_not_ready_while_it_cannot_know_who_is_parked(world: World) -> None:
    world.feel("refuses")
    worker = world.start()
    world.send("a.example", 1)
    world.let(30)

    assert not worker.health.is_ready
    assert "who is parked" in str(worker.health.report())
    assert world.done["a.example"] == []

    world.feel("takes")
    world.let(5)

    assert worker.health.status == "ok"
    assert world.done["a.example"] == [1]


def test_who_is_forgotten_with_what_waited_is_told(world: World) -> None:
    # As where an administrator lets the parked stream keep what is there for a day, or empties it.
    worker = world.start()
    world.failing.add("a.example")
    world.send("a.example", 5)
    world.let(5)
    world.stop(worker)
    number = world.partition("a.example")
    log = world.queue.logs[names.parked(TOPIC)][number]
    # What another group wrote then is all that is left.
    last = log[-1]
    assert isinstance(last, PlacedRecord)
    log[:] = [replace(last, offset=last.offset + 1, headers=())]

    with capture_logs() as logs:
        world.start()
        world.let(5)

    told = [(one["partition"], one["log_level"]) for one in logs if "has lost its beginning" in one["event"]]
    assert told == [(number, "error")]


def test_what_waited_never_comes_again_behind_what_was_finished_after_it(world: World) -> None:
    worker = world.start()
    world.failing.add("a.example")
    world.send("a.example", 3)
    world.let(5)
    world.feel("refuses")
    world.failing.clear()
    world.let(10)
    world.send("a.example", 3)
    world.let(30)
    assert world.done["a.example"] == [1, 2, 3, 4, 5, 6]

    # It could not be told that the first three are done: whoever is next begins with them, and with all after them.
    world.kill(worker, 0)
    world.heal()
    world.judge()
    assert world.books.latest["a.example"] == 6


def test_nor_where_the_last_of_what_waited_was_done_while_that_of_the_others_was_on_its_way(world: World) -> None:
    worker = world.start()
    world.failing.add("a.example")
    world.send("a.example", 3)
    world.let(5)
    world.failing.clear()
    world.takes_s["a.example"] = 1.0
    while not world.done["a.example"]:
        world.let(0.1)
    world.send("a.example", 2)
    world.feel("waits")
    while len(world.done["a.example"]) < 5:
        world.let(0.1)

    # It is kept that the second is done, and that the third is on its way only now.
    world.deliver()
    world.let(1.1)

    world.kill(worker, 0)
    world.heal()
    world.judge()
    assert world.books.latest["a.example"] == 5


def test_a_commit_before_it_is_known_who_is_parked_says_what_the_last_one_said() -> None:
    before = Place(generation=7, position=40, in_force=6, orders=3)
    queue = MemoryQueue()
    stream = ParkedStream(queue.producer(), queue.inspector(), TOPIC, "shop", now=lambda: 0.0)

    parking = Parking(Partition(0, 0, Note()), stream, Lanes(), Held(10, 10), Held(10, 10), before)

    assert parking.place() == before


def test_a_portal_whose_replay_cannot_be_read_keeps_no_other_parked_portal_waiting(world: World) -> None:
    world.start()
    a, b = [f"{n}.example" for n in range(99) if world.partition(f"{n}.example") == 0][:2]
    world.let(0.1)
    gone = world.queue.logs.pop(names.dead(TOPIC))
    world.order(What.REPLAY, a, stream=names.dead(TOPIC), spans=((0, 2),))
    world.failing.add(b)
    world.send(b, 30)
    world.let(10)
    world.failing.clear()
    world.let(60)

    assert world.done[b] == list(range(1, 31))

    world.queue.logs[names.dead(TOPIC)] = gone
    world.let(30)
    world.heal()
    world.judge()


def test_what_was_folded_into_a_record_goes_with_it_when_that_is_folded_itself(world: World) -> None:
    world.start()
    # Found by chance: loaded records fold into fresh ones behind them, and these into fresher ones.
    told = "a 11, a 23, all 30, all 13, all 7, slow 18, all 19, a 12, batch 22, a 8, slow 4, slow 20, all 15"
    for one in told.split(", "):
        portal, _, count = one.partition(" ")
        world.send(f"{portal}.example", int(count))

    world.heal()
    world.judge()


def test_an_error_that_quotes_half_a_character_is_told_as_any_other_and_its_portal_stays_held(shop: Shop) -> None:
    @shop.on("*", tries=1, give_up="hold")
    async def handle(event: PortalEvent) -> None:
        raise ValueError("no such name: \ud83d")

    shop.send("ONAPPTEST", 1)
    worker = shop.start()
    shop.let(10)
    shop.world.stop(worker)
    shop.start()
    shop.let(10)

    assert shop.calls == [[1]]
    assert shop.committed() == 1


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_drained_before_the_topic_comes_to_where_it_stood_is_not_handled_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr("forebay.processors.intake._FETCH_RECORDS", 1)
    works = False

    @shop.on("ONAPPSLOW")
    async def slow(event: PortalEvent) -> None:
        await shop.nap(20)

    @shop.on("ONAPPTEST")
    async def handle(event: PortalEvent) -> None:
        if not works:
            raise ConnectionError("the portal's API is down")

    others = (f"p{number}.example" for number in range(100))
    beside = next(one for one in others if shop.world.partition(one) == shop.world.partition(PORTAL))
    shop.send("ONAPPSLOW", 0, portal=beside)
    parked = range(1, count + 1)
    shop.send("ONAPPTEST", *parked)
    dying = shop.start(commit_interval_s=1000.0)
    shop.let(4)
    shop.world.kill(dying, 0)

    works = True
    shop.calls.clear()
    # It has no room for more of the topic than the slow one, and is stopped then.
    leaving = shop.start(max_held_records=1, max_lane_records=1000)
    shop.let(10)
    shop.world.stop(leaving)
    assert shop.calls == [[0], *([one] for one in parked)]

    shop.start()
    shop.let(60)

    assert shop.calls == [[0], *([one] for one in parked)]
    assert shop.committed() == 1 + count


def test_waits_in_memory_have_a_total_and_those_that_were_asked_for_count_nothing_against_it(shop: Shop) -> None:
    @shop.on("ONTASK*")
    async def handler(event: PortalEvent) -> None:
        if len(shop.calls) <= 3:
            raise Retry(after_s=20)
        if len(shop.calls) <= 5 or id_of(event) == 2:
            raise ConnectionError("the portal's API is down")

    def parked() -> set[str]:
        return {record.key for log in shop.world.queue.logs[names.parked(TOPIC)] for record in log}

    shop.send("ONTASKADD", 1)
    shop.start(memory_tries=10, retry_first_s=1, retry_longest_s=40, retry_total_s=30)
    shop.let(90)

    assert shop.calls == [[1]] * 6
    assert shop.committed() == 1
    assert PORTAL not in parked()

    # After 1, 2, 4 and 8 s the next one would be longer than what is left.
    shop.send("ONTASKADD", 2)
    shop.let(16)

    assert shop.calls[6:] == [[2]] * 5
    assert PORTAL in parked()


def test_a_portal_that_is_parked_for_being_many_while_it_waits_keeps_its_tries_and_its_time(shop: Shop) -> None:
    @shop.on("*", tries=3)
    async def handle(event: PortalEvent) -> None:
        if id_of(event) == 1:
            raise ConnectionError("the portal's API is down")

    shop.send("ONAPPTEST", *range(1, 21))
    shop.start(memory_tries=5, retry_first_s=40, retry_longest_s=40, retry_total_s=100)
    began = shop.world.loop.time()
    shop.let(200)

    assert shop.calls == [[1], [1], [1], *([one] for one in range(2, 21))]
    assert [round(at - began, -1) for at in shop.at[:4]] == [0, 40, 80, 80]
    assert shop.dead_ids() == [1]
