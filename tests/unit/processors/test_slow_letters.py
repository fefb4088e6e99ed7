"""A queue that takes dead letters and doesn't say so for long: their portals wait, and nobody else."""

import asyncio

import pytest

from forebay import PortalEvent, Reject
from forebay.processors.parking.orders import What
from forebay.queues.contract import Delivery, Position, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryProducer
from forebay.schemas import names
from tests.parking.moody import TOPIC
from tests.parking.shop import Shop, id_of

#: More than a worker of this world has slots.
PORTALS = 20


class Slow:
    """What of the dead letters is under way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.under_way: list[tuple[MemoryProducer, Record, asyncio.Future[Position]]] = []
        self._submit = MemoryProducer.submit

        def submit(producer: MemoryProducer, stream: str, record: Record, delivery: Delivery) -> None:
            if stream != names.dead(TOPIC):
                self._submit(producer, stream, record, delivery)
                return
            assert isinstance(delivery, asyncio.Future)
            self.under_way.append((producer, record, delivery))

        monkeypatch.setattr(MemoryProducer, "submit", submit)

    async def answer(self, error: QueueUnavailable | None = None, *, count: int = PORTALS) -> None:
        """To so many, the first ones."""
        under_way, self.under_way = self.under_way[:count], self.under_way[count:]
        for producer, record, delivery in under_way:
            if error is None:
                self._submit(producer, names.dead(TOPIC), record, delivery)
            else:
                delivery.set_exception(error)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, shop: Shop) -> Slow:
    @shop.on("*")
    async def handle(event: PortalEvent) -> None:
        if id_of(event) == 1:
            raise Reject("no such deal")

    for number in range(PORTALS):
        shop.send("ONAPPTEST", 1, 2, portal=f"p{number}.example")
    return Slow(monkeypatch)


def test_letters_that_are_long_under_way_keep_no_other_portal_waiting_and_are_sent_once(shop: Shop, slow: Slow) -> None:
    worker = shop.start()
    shop.let(5)
    shop.send("ONAPPTEST", 3, portal="well.example")
    shop.let(60)

    assert sorted(shop.calls) == [*[[1]] * PORTALS, [3]]
    assert len(slow.under_way) == PORTALS
    assert worker.health.status == "degraded"

    shop.world.run(slow.answer())
    shop.let(30)

    assert sorted(shop.calls) == [*[[1]] * PORTALS, *[[2]] * PORTALS, [3]]
    assert shop.dead_ids() == [1] * PORTALS
    assert shop.committed() == 2 * PORTALS + 1
    assert worker.health.report()["status"] == "ok"


def test_a_portal_goes_on_as_soon_as_its_letter_is_kept(shop: Shop, slow: Slow) -> None:
    shop.start(concurrency=PORTALS)
    shop.let(0.2)
    assert [2] not in shop.calls

    shop.world.run(slow.answer())
    shop.let(0.05)

    assert shop.calls[PORTALS:] == [[2]] * PORTALS


def test_while_one_letter_is_under_way_the_worker_says_so_whatever_became_of_the_others(shop: Shop, slow: Slow) -> None:
    worker = shop.start()
    shop.let(60)

    shop.world.run(slow.answer(count=PORTALS - 1))
    told = []
    # More often than the last one is looked for.
    for _ in range(300):
        shop.let(0.1)
        told.append(worker.health.report()["status"])

    assert len(shop.dead_ids()) == PORTALS - 1
    assert set(told) == {"degraded"}

    shop.world.run(slow.answer())
    shop.let(60)

    assert worker.health.report()["status"] == "ok"


def test_a_letter_that_was_not_kept_after_all_is_sent_again(shop: Shop, slow: Slow) -> None:
    shop.start()
    shop.let(10)
    shop.world.run(slow.answer(QueueUnavailable("no broker")))
    shop.let(30)

    assert len(slow.under_way) == PORTALS
    assert shop.dead_ids() == []
    assert shop.committed() == 0

    shop.world.run(slow.answer())
    shop.let(30)

    assert shop.dead_ids() == [1] * PORTALS
    assert shop.committed() == 2 * PORTALS


def test_a_letter_that_the_queue_does_not_take_is_sent_ever_less_often_and_stays_whole(shop: Shop, slow: Slow) -> None:
    shop.start(concurrency=PORTALS)
    sent = 0
    for _ in range(1000):
        shop.let(0.1)
        sent += len(slow.under_way)
        shop.world.run(slow.answer(QueueUnavailable("no broker")))
    shop.let(15)
    shop.world.run(slow.answer())
    shop.let(15)

    # Ten seconds apart in the end.
    assert 10 * PORTALS < sent < 20 * PORTALS
    assert [names.DEAD_TRACEBACK in dict(letter.headers) for letter in shop.dead()] == [True] * PORTALS


def test_one_that_is_under_way_at_the_end_is_nobody_s_any_more(shop: Shop, slow: Slow) -> None:
    worker = shop.start()
    shop.let(10)
    shop.world.stop(worker)

    shop.world.run(slow.answer(QueueUnavailable("no broker")))
    shop.let(1)

    assert shop.committed() == 0


def test_one_that_is_under_way_when_its_partition_goes_is_no_trouble_of_this_worker_any_more(
    shop: Shop, slow: Slow
) -> None:
    worker = shop.start()
    shop.let(10)
    told = []
    for partition in list(worker.ownership):
        told.append(worker.health.report()["status"])
        worker.ownership.lost(partition.number)

    assert told == ["degraded"] * len(told)
    assert worker.health.report()["status"] == worker.health.status == "ok"


@pytest.mark.parametrize("meanwhile", ["more come than it may have in memory", "an operator holds it"])
def test_one_that_is_under_way_when_its_portal_is_parked_is_sent_once_and_its_event_not_handled_again(
    shop: Shop, slow: Slow, meanwhile: str
) -> None:
    shop.start()
    shop.let(5)
    shop.send("ONAPPTEST", *range(3, 30), portal="p0.example")
    if meanwhile == "an operator holds it":
        shop.world.order(What.HOLD, "p0.example")
    shop.let(20)
    assert "p0.example" in {record.key for log in shop.world.queue.logs[names.parked(TOPIC)] for record in log}

    shop.world.order(What.RESUME, "p0.example")
    shop.let(20)
    shop.world.run(slow.answer())
    shop.let(60)

    assert shop.dead_ids() == [1] * PORTALS
    assert sorted(shop.calls) == [*[[1]] * PORTALS, *[[2]] * PORTALS, *[[number] for number in range(3, 30)]]
    assert [call for call in shop.calls if call > [2]] == [[number] for number in range(3, 30)]
    assert shop.committed() == 2 * PORTALS + 27
