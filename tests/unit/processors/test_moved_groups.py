"""A group that was moved back while portals of it are parked."""

from contextlib import closing

import pytest

from forebay.processors.parking.orders import What
from forebay.queues.contract import Commit, Delivery, Record
from forebay.queues.errors import QueueUnavailable
from forebay.schemas import names
from tests.parking.life import OTHER, OTHERS, PORTAL, Life
from tests.parking.moody import TOPIC, MoodyProducer


@pytest.mark.parametrize("done", [0, 2, 4, 6])
def test_what_a_parked_portal_has_behind_the_place_comes_again_after_what_waits(life: Life, done: int) -> None:
    life.move(OTHERS + done)
    life.start()
    life.let(60)
    life.send(PORTAL, 1)
    life.let(60)

    assert life.of(PORTAL) == [5, 6, 7, 8, *range(done + 1, 10)]


def test_it_does_also_where_the_first_worker_went_before_it_knew_who_is_parked(life: Life) -> None:
    life.move(0)
    life.feel("waits")
    first = life.start()
    life.let(5)
    life.kill(first, 0)
    assert life.place(PORTAL).generation
    assert life.settled() < 0
    life.feel("takes")

    life.start()
    life.let(60)

    assert life.of(PORTAL) == [5, 6, 7, 8, *range(1, 9)]


@pytest.mark.parametrize("is_held", [True, False])
def test_it_does_also_where_another_worker_followed_before_it_came_to_the_portals_events(
    life: Life, is_held: bool
) -> None:
    life.move(0)
    if is_held:
        life.order(What.HOLD, PORTAL)
    first = life.start_without_room()
    life.let(20)
    assert life.of(PORTAL) == ([] if is_held else [5, 6, 7, 8])
    life.kill(first, 0)
    assert life.place(PORTAL).in_force
    assert life.settled() < 0

    life.takes_s.clear()
    life.order(What.RESUME, PORTAL)
    life.start()
    life.let(60)

    assert life.of(PORTAL) == [5, 6, 7, 8, *range(1, 9)]


@pytest.mark.parametrize("lane", [5, 1000])
def test_it_does_while_what_waits_is_handled_and_all_of_it_is_committed(life: Life, lane: int) -> None:
    life.move(0)
    life.order(What.HOLD, PORTAL)
    life.kill(life.start_without_room(20), 0)
    life.takes_s.clear()
    life.takes_s[PORTAL] = 2.0
    life.order(What.RESUME, PORTAL)

    life.start(max_lane_records=lane)
    life.let(120)

    assert life.of(PORTAL) == [5, 6, 7, 8, *range(1, 9)]
    assert life.commits()[life.partition(PORTAL)].offset == OTHERS + 8


def test_it_does_where_all_that_waited_was_in_memory_when_it_came_and_is_parked_again_with_it(life: Life) -> None:
    life.move(0)
    life.takes_s.update({OTHER: 0.1, PORTAL: 4.0})
    worker = life.start(max_held_records=40, max_lane_records=1000)
    life.let(0.1)
    [lanes] = [one.lanes for one in worker.ownership if one.number == life.partition(PORTAL)]
    while PORTAL not in lanes or len(lanes[PORTAL].records) < 5:
        life.let(0.1)

    life.failing.add(PORTAL)
    life.let(20)
    life.failing.clear()
    life.let(120)

    assert life.of(PORTAL) == [5, 6, 7, 8, *range(1, 9)]


@pytest.mark.parametrize("another_follows", [False, True])
@pytest.mark.parametrize("place", [0, OTHERS + 6])
def test_what_comes_again_is_not_discarded_with_what_waited_when_that_was_ordered(
    life: Life, place: int, another_follows: bool
) -> None:
    worker = life.start()
    for what in (What.DISCARD, What.HOLD):
        life.order(what, PORTAL)
    life.let(5)
    life.stop(worker)
    assert len(life.queue.logs[names.dead(TOPIC)][life.partition(PORTAL)]) == 0
    life.move(place)
    worker = life.start()
    life.let(10)
    if another_follows:
        life.kill(worker, 0)
        life.start()
        life.let(10)

    life.send(PORTAL, 1)
    life.order(What.RESUME, PORTAL)
    life.let(60)

    assert life.of(PORTAL) == [*range(max(0, place - OTHERS) + 1, 10)]
    assert len(life.queue.logs[names.dead(TOPIC)][life.partition(PORTAL)]) == 4


def spills(record: Record) -> bool:
    return dict(record.headers).get(names.PARKED_KIND) == b"spill"


@pytest.mark.parametrize("done", [0, 3, 6, 7])
@pytest.mark.parametrize("another_follows", [False, True])
def test_of_what_comes_again_and_is_parked_copies_do_not_count(
    life: Life, monkeypatch: pytest.MonkeyPatch, done: int, another_follows: bool
) -> None:
    # Told as refused, and kept all the same.
    lies = list(range(8 - done))
    submit = MoodyProducer.submit

    def submitted(self: MoodyProducer, stream: str, record: Record, delivery: Delivery) -> None:
        if not (lies and spills(record)):
            return submit(self, stream, record, delivery)
        self.keep(record)
        raise QueueUnavailable(f"{lies.pop()} more")

    monkeypatch.setattr(MoodyProducer, "submit", submitted)
    monkeypatch.setattr("forebay.processors.intake._FETCH_RECORDS", 1000)
    life.move(OTHERS + done)
    life.failing.add(PORTAL)
    worker = life.start()
    life.let(30)
    assert not lies
    life.send(PORTAL, 3)
    life.let(30)
    if another_follows:
        life.kill(worker, 0)
        life.start()
        life.let(30)

    life.failing.clear()
    life.let(60)

    assert life.of(PORTAL) == [5, 6, 7, 8, *range(done + 1, 12)]


@pytest.mark.parametrize("are_first", [False, True])
@pytest.mark.parametrize("done", [4, 7])
def test_nor_do_those_that_a_former_owner_had_on_their_way(
    life: Life, monkeypatch: pytest.MonkeyPatch, done: int, are_first: bool
) -> None:
    on_their_way: list[Record] = []
    is_former = True
    submit = MoodyProducer.submit

    def submitted(self: MoodyProducer, stream: str, record: Record, delivery: Delivery) -> None:
        if is_former and spills(record):
            return on_their_way.append(record)
        while are_first and spills(record) and on_their_way:
            self.keep(on_their_way.pop(0))
        submit(self, stream, record, delivery)

    monkeypatch.setattr(MoodyProducer, "submit", submitted)
    monkeypatch.setattr("forebay.processors.intake._FETCH_RECORDS", 1000)
    life.move(OTHERS + done)
    life.failing.add(PORTAL)
    former = life.start()
    life.let(10)
    assert len(on_their_way) == 8 - done
    life.kill(former, 0)
    is_former = False
    life.start()
    life.let(10)
    for record in on_their_way:
        life.run(kept(life, record))

    life.send(PORTAL, 3)
    life.let(30)
    life.failing.clear()
    life.let(60)

    assert life.of(PORTAL) == [5, 6, 7, 8, *range(done + 1, 12)]


async def kept(life: Life, record: Record) -> None:
    MoodyProducer(life.queue).keep(record)


def test_all_that_waits_is_discarded_also_while_some_of_it_comes_again(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Until its first two have come again, and are parked behind what waits, whose offsets are larger.
    life.move(OTHERS)
    life.failing.add(PORTAL)
    life.takes_s[OTHER] = 50.0
    coming = life.queue.logs[TOPIC][life.partition(PORTAL)]
    behind = coming[OTHERS + 2 :]
    del coming[OTHERS + 2 :]
    life.start()
    life.let(10)

    life.order(What.DISCARD, PORTAL)
    life.let(30)
    coming.extend(behind)
    life.failing.clear()
    life.let(60)

    assert len(life.queue.logs[names.dead(TOPIC)][life.partition(PORTAL)]) == 6
    assert life.of(PORTAL) == [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("kind", ["fold", "all", "batch"])
@pytest.mark.parametrize("place", [0, 0.5])
def test_what_comes_again_is_not_taken_for_what_is_done_ahead_of_its_turn(kind: str, place: float) -> None:
    portal = f"{kind}.example"
    with closing(Life()) as life:
        worker = life.start()
        life.failing.add(portal)
        life.send(portal, 8)
        life.let(30)
        life.stop(worker)
        life.failing.clear()
        number = life.partition(portal)
        life.commits()[number] = Commit(offset=int(place * 8))
        worker = life.start()

        life.let(300)

        assert set(life.of(portal)) >= {5, 7, 8}
        assert [one.parking and one.parking.portals for one in worker.ownership] == [{}, {}]
        # Nothing is left that would come behind what is newer.
        life.send(portal, 1)
        life.let(5)
        life.stop(worker)
        life.start()
        life.let(60)
        assert life.of(portal)[-1] == 9
