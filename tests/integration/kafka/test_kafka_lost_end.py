"""A cluster that has lost the end of a partition, as after a power cut: others stand where the group was already."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from forebay import Retry
from forebay.processors.worker import Worker
from forebay.queues.contract import Commit, Consumer, Queue, Record
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.schemas import names
from tests.integration.kafka.power import Power
from tests.integration.kafka.working import Site, encoded
from tests.kafka.cluster import Cluster
from tests.kafka.members import PATIENCE_S, Owner, fetch, joined, send
from tests.kafka.opener import Opener
from tests.waiting import until

STREAM = "events"

pytestmark = pytest.mark.kafka


@pytest.fixture(params=["consumer", "classic"])
async def site(
    clusters: Callable[..., Cluster], opened: Opener, request: pytest.FixtureRequest
) -> tuple[Power, Queue, Consumer]:
    """With a queue, and a member that has finished ten records."""
    cluster = await asyncio.to_thread(clusters)
    queue = opened(cluster.bootstrap, kafka={"group.protocol": request.param})
    await queue.ensure([STREAM], 1)
    await send(queue, STREAM, range(5))
    await (power := Power(cluster, STREAM)).keep()
    await send(queue, STREAM, range(5, 10))
    consumer = await joined(queue, STREAM, owns=1)
    assert await fetch(consumer, 10) == [*range(10)]
    await consumer.commit({0: Commit(offset=10)})
    return power, queue, consumer


async def hears_of_it(consumer: Consumer, why: str = "") -> None:
    told = rf"partition 0 of {STREAM}.*lost the partition.s end .*{why}.*--reset-offsets"
    with pytest.raises(QueueError, match=told):
        while True:
            # On a busy machine the broker stays away for so long that this is told first; a worker asks again.
            with suppress(QueueUnavailable):
                assert await consumer.fetch(10, PATIENCE_S) == []


async def test_who_comes_afterwards_skips_nothing_that_stands_where_the_group_was_already(
    site: tuple[Power, Queue, Consumer],
) -> None:
    power, queue, consumer = site
    await consumer.close()

    await power.lose()
    await send(queue, STREAM, range(20, 28))
    consumer = await joined(queue, STREAM, owner := Owner(), 1)

    assert owner.owned[0] == Commit(offset=10)
    await hears_of_it(consumer, "offset 9 was written under leader epoch")
    # As it leaves; and then it is started again.
    await consumer.commit({0: Commit(offset=10)})
    await consumer.close()
    consumer = await joined(queue, STREAM, owns=1)
    await hears_of_it(consumer, "offset 9 was written under leader epoch")
    await consumer.close()


async def test_who_was_there_all_the_time_skips_nothing_either(site: tuple[Power, Queue, Consumer]) -> None:
    power, queue, consumer = site

    await power.lose()
    await send(queue, STREAM, range(20, 28))

    await hears_of_it(consumer)
    await consumer.close()


async def test_portals_that_are_forgotten_with_the_end_of_the_parked_stream_are_told_once(
    clusters: Callable[..., Cluster], opened: Opener
) -> None:
    cluster = await asyncio.to_thread(clusters)
    site = Site(opened(cluster.bootstrap), "parking")
    await site.queue.ensure(names.streams(site.topic), 1)

    async def handle(number: int) -> None:
        raise Retry("tomorrow", after_s=86_400)

    site.handle = handle  # type: ignore[method-assign]  # what the test's handler does
    async with site.working() as worker:
        await send_event(site, "remembered.example")
        await until(lambda: parked(worker) == {"remembered.example"})
        await site.commits(1)
        (power := Power(cluster, names.parked(site.topic))).copy()
        await send_event(site, "forgotten.example")
        await site.commits(2)

    await power.lose()
    with capture_logs() as logs:
        for _ in range(2):
            async with site.working() as worker:
                await until(lambda: parked(worker) == {"remembered.example"})

    told = [(one["partition"], one["log_level"]) for one in logs if "has lost its end" in one["event"]]
    assert told == [(0, "error")]


async def send_event(site: Site, portal: str) -> None:
    producer = site.queue.producer()
    await producer.send(site.topic, Record(key=portal, value=encoded(1, portal), timestamp_ms=1_700_000_000_000))
    await producer.close()


def parked(worker: Worker) -> set[str]:
    """The portals of which the parked stream says all that is known."""
    parkings = [ours.parking for ours in worker.ownership if ours.parking is not None]
    portals = [portal for parking in parkings for portal in parking.portals.values()]
    return {one.portal for one in portals if one.writer is None and not one.is_dirty}


class Told(Owner):
    """Writes down from where on what comes is new to the group."""

    def __init__(self) -> None:
        super().__init__()
        self.rewritings: list[tuple[int, int]] = []

    def rewritten(self, partition: int, offset: int) -> None:
        self.rewritings.append((partition, offset))


async def test_what_a_commit_says_of_later_records_does_not_hold_for_those_in_their_place(
    site: tuple[Power, Queue, Consumer],
) -> None:
    power, queue, consumer = site
    await consumer.commit({0: Commit(offset=4, note=b"5 to 9 are finished")})
    await consumer.close()

    await power.lose()
    await send(queue, STREAM, range(20, 28))
    consumer = await joined(queue, STREAM, owner := Told(), 1)

    assert owner.owned[0] == Commit(offset=4, note=b"5 to 9 are finished")
    assert await fetch(consumer, 9) == [4, *range(20, 28)]
    assert owner.rewritings == [(0, 5)]
    await consumer.close()


async def test_what_the_group_has_finished_is_given_to_nobody_again(site: tuple[Power, Queue, Consumer]) -> None:
    power, queue, consumer = site
    await consumer.commit({0: Commit(offset=7)})
    await consumer.close()
    await power.restart()

    consumer = await joined(queue, STREAM, owner := Told(), 1)

    assert owner.owned[0] == Commit(offset=7)
    assert await fetch(consumer, 3) == [7, 8, 9]
    assert owner.rewritings == []
    await consumer.close()
