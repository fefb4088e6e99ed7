"""A group that goes on with a copy of its topics, as in a cluster that stands in for another: the offsets differ."""

import asyncio
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from forebay.console.orders.writer import order_writer
from forebay.console.planning import Planned
from forebay.processors.parking.orders import Order, What
from forebay.processors.worker import Worker
from forebay.schemas import names
from tests.integration.kafka.working import Site, encoded
from tests.kafka.fixtures import Kafka
from tests.kafka.mirrored import end_source, mirror, records
from tests.kafka.opener import Opener
from tests.waiting import until

pytestmark = pytest.mark.kafka

SLOW, QUICK = "slow.example", "quick.example"


class Trying(Site):
    """Where some events never come to an end, or fail, as long as they are to."""

    endless: frozenset[int] = frozenset()
    fails_from: int | None = None

    async def handle(self, number: int) -> None:
        if number in self.endless:
            await asyncio.Event().wait()
        if self.fails_from is not None and number >= self.fails_from:
            raise ConnectionError("the portal's API is down")
        self.handled.append(number)

    async def order(self, worker: Worker, *what: What) -> None:
        """Order it, and return when the worker has read that."""
        async with order_writer(self.queue, self.topic, "a test") as writer:
            orders = [await writer.put(SLOW, one, self.group, 0) for one in what]
        await self._read(worker, orders[-1])

    async def replay(self, worker: Worker, *span: int) -> None:
        """The same, of what the topic has between two offsets."""
        planned = Planned(portal=SLOW, group=self.group, stream=self.topic, partition=0)
        for offset in range(*span):
            planned.add(offset, offset)
        async with order_writer(self.queue, self.topic, "a test") as writer:
            [order] = await writer.put_all(planned, What.REPLAY)
        await self._read(worker, order)

    async def _read(self, worker: Worker, order: Order) -> None:
        await until(lambda: [one.parking.orders for one in worker.ownership if one.parking] == [order.offset + 1])


@pytest.fixture
async def sites(kafka: Kafka, opened: Opener) -> tuple[Trying, Trying]:
    """One, and one of the same group whose topic is to be the copy of the first's."""
    queue = opened(kafka.bootstrap)
    topics = [f"events-{uuid4().hex[:12]}" for _ in range(2)]
    for topic in topics:
        await queue.ensure(names.streams(topic), 1)
    return Trying(queue, topics[0]), Trying(queue, topics[1], group=topics[0])


def write(bootstrap: str, topic: str, *events: tuple[int, str]) -> None:
    client = Producer({"bootstrap.servers": bootstrap, "log_level": 0, "acks": "all"})
    for number, portal in events:
        client.produce(topic, encoded(number, portal), portal, partition=0)
    assert not client.flush(30)


def is_parked(worker: Worker) -> bool:
    return any(ours.parking is not None and ours.parking.portals for ours in worker.ownership)


async def test_what_was_finished_out_of_turn_is_not_looked_for_at_the_offsets_of_another_topic(
    kafka: Kafka, sites: tuple[Trying, Trying]
) -> None:
    site, copy = sites
    site.endless = frozenset({0, 2, 4})
    write(kafka.bootstrap, site.topic, (0, SLOW), (1, QUICK), (2, SLOW), (3, QUICK), (4, SLOW))
    async with site.working():
        await until(lambda: site.handled == [1, 3])
    await asyncio.to_thread(mirror, kafka.bootstrap, site.topic, copy.topic, twice=[1])

    async with copy.working():
        await copy.commits(6)

    assert [number for number in copy.handled if number in site.endless] == [0, 2, 4]


@pytest.mark.parametrize("without", [0, 1, 2])
async def test_who_was_parked_waits_in_the_copy_also_where_that_lacks_its_beginning(
    kafka: Kafka, sites: tuple[Trying, Trying], without: int
) -> None:
    site, copy = sites
    site.fails_from = 3
    write(kafka.bootstrap, site.topic, *((number, SLOW) for number in range(7)))
    async with site.working() as worker:
        await site.commits(7)
        await until(lambda: is_parked(worker))
    await asyncio.to_thread(mirror, kafka.bootstrap, site.topic, copy.topic, without=without)
    write(kafka.bootstrap, copy.topic, (7, SLOW))

    async with copy.working() as worker:
        await until(lambda: 7 in copy.handled)
        await copy.commits(8 - without)
        await until(lambda: not is_parked(worker))

    # The second record of the parked stream is the first event.
    assert copy.handled == [*range(3 + (without == 2), 8)]


async def test_an_order_is_obeyed_in_the_copy_where_orders_have_smaller_offsets(
    kafka: Kafka, sites: tuple[Trying, Trying]
) -> None:
    site, copy = sites
    site.fails_from = 0
    write(kafka.bootstrap, site.topic, *((number, SLOW) for number in range(3)))
    async with site.working() as worker:
        await until(lambda: is_parked(worker))
        for what in (What.HOLD, What.RESUME, What.HOLD):
            await site.order(worker, what)
    await asyncio.to_thread(mirror, kafka.bootstrap, site.topic, copy.topic, without=1)

    async with copy.working() as worker:
        await until(lambda: is_parked(worker))
        await copy.order(worker, What.RESUME)
        await until(lambda: not is_parked(worker))

    assert copy.handled == [0, 1, 2]


async def test_what_comes_in_the_copy_is_not_discarded_with_what_waited_when_that_was_ordered(
    kafka: Kafka, sites: tuple[Trying, Trying]
) -> None:
    site, copy = sites
    site.fails_from = 0
    write(kafka.bootstrap, site.topic, *((number, SLOW) for number in range(5)))
    async with site.working() as worker:
        await site.commits(5)
        await until(lambda: is_parked(worker))
        # The letters are still to be written.
        await site.order(worker, What.DISCARD, What.HOLD)
    await asyncio.to_thread(mirror, kafka.bootstrap, site.topic, copy.topic, events=3)

    write(kafka.bootstrap, copy.topic, *((number, SLOW) for number in range(5, 8)))
    async with copy.working() as worker:
        await until(lambda: is_parked(worker))
        await copy.commits(5)
        await copy.order(worker, What.RESUME)
        await until(lambda: not is_parked(worker))

    assert copy.handled == [5, 6, 7]
    assert len(list(records(kafka.bootstrap, names.dead(copy.topic)))) == 5


@pytest.mark.parametrize("without", [0, 1])
async def test_a_replay_that_names_what_the_copy_has_not_is_told_of_and_keeps_no_portal_waiting(
    kafka: Kafka, sites: tuple[Trying, Trying], capsys: pytest.CaptureFixture[str], without: int
) -> None:
    site, copy = sites
    write(kafka.bootstrap, site.topic, *((number, SLOW) for number in range(3)))
    async with site.working() as worker:
        await site.commits(3)
        await site.order(worker, What.HOLD, What.HOLD)
        await site.replay(worker, 0, 3)
    await asyncio.to_thread(mirror, kafka.bootstrap, site.topic, copy.topic, without=without)
    await asyncio.to_thread(end_source, kafka.bootstrap, site.topic)

    write(kafka.bootstrap, copy.topic, (3, SLOW))
    async with copy.working() as worker:
        await copy.commits(4 - without)
        await copy.order(worker, What.RESUME)
        await until(lambda: not is_parked(worker))

    assert copy.handled == [3]
    assert "order it again" in capsys.readouterr().out
