"""A broker that can't be reached from here, as behind a firewall that nobody told of it, while the others can."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from forebay import Handlers
from forebay.processors.notes import Place
from forebay.processors.parking.opening import opened as parking_opened
from forebay.processors.parking.orders import Order, What, written
from forebay.processors.parking.stream import ParkedStream, key_in
from forebay.processors.settings import WorkerSettings
from forebay.processors.worker import Worker
from forebay.queues.contract import Queue, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.kafka import admin, properties
from forebay.schemas import names
from tests.integration.kafka.mocked import STREAM, mocked
from tests.kafka.members import PARTITIONS, SESSION_S, Owner, fetch, send
from tests.kafka.mock_cluster import MockCluster
from tests.kafka.opener import Opener
from tests.waiting import until

#: As the mock deals them out, beginning with the first broker.
NEAR, FAR = (0, 2), (1, 3)
FAR_BROKER = 2

AN_HOUR_MS = 3_600_000

_ASKED_THE_FAR_ONE = "query partition leaders"

T = TypeVar("T")


@pytest.fixture
def mock(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockCluster]:
    """Two brokers, each with half of every stream's partitions."""
    monkeypatch.setattr(admin, "_ANSWER_S", 1.0)
    with mocked(monkeypatch, brokers=2) as made:
        yield made


@pytest.fixture
async def queue(mock: MockCluster, opened: Opener) -> Queue:
    """A queue of which one record stands in each partition; the second broker can be reached no more."""
    queue = opened(mock.bootstrap)
    for number in range(PARTITIONS):
        await send(queue, STREAM, [number], key=key_in(number, PARTITIONS))
    mock.slow(FAR_BROKER, AN_HOUR_MS)
    return queue


async def answered(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer; asked again where the client has asked the far broker who leads what, and will ask another."""
    while True:
        try:
            return await ask()
        except QueueUnavailable as error:
            if _ASKED_THE_FAR_ONE not in str(error):
                raise


async def told(ask: Callable[[], Awaitable[object]]) -> str:
    """Why that can't be answered."""
    with pytest.raises(QueueUnavailable) as unavailable:
        await answered(ask)
    return str(unavailable.value)


async def test_what_is_not_told_is_never_taken_for_a_partition_without_records(queue: Queue) -> None:
    inspector = queue.inspector()

    why = await told(partial(inspector.bounds, STREAM))
    assert re.search(f"partitions 1, 3 of {STREAM} does not answer .*forebay doctor", why)
    for number in FAR:
        for ask in (partial(inspector.read, STREAM, number, 0, 1), partial(inspector.offset_at, STREAM, number, 0)):
            assert f"partitions {number} of {STREAM} does not answer" in await told(ask)
    await inspector.close()


async def test_the_others_are_told_all_the_same(queue: Queue) -> None:
    inspector = queue.inspector()

    bounds = await answered(partial(inspector.bounds, STREAM, NEAR))
    read = {number: await answered(partial(inspector.read, STREAM, number, 0, 1)) for number in NEAR}

    assert await answered(partial(inspector.partitions, STREAM)) == PARTITIONS
    assert bounds.keys() == set(NEAR)
    assert all(one.end > one.start for one in bounds.values()), bounds
    assert all(read.values())
    await inspector.close()


async def test_the_owner_of_another_partition_begins_all_the_same(queue: Queue) -> None:
    producer, inspector = queue.producer(), queue.inspector()
    stream = ParkedStream(producer, inspector, STREAM, "group", now=time.time)

    async def commit(generation: int) -> None:
        """Kept."""

    known = await answered(partial(parking_opened, stream, NEAR[0], Place(), commit))

    assert known.generation >= 1
    assert known.next_order == 0
    await producer.close()
    await inspector.close()


async def test_a_record_that_waits_is_told_though_others_are_kept(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.queues.kafka.producer._SILENCES", 3)
    monkeypatch.setitem(properties._PRODUCER, "statistics.interval.ms", 50)
    producer = queue.producer()
    near, far = (Record(key=key_in(one[0], PARTITIONS), value=b"1", timestamp_ms=1) for one in (NEAR, FAR))

    await producer.send(STREAM, near)
    with capture_logs() as logs:
        waiting = asyncio.create_task(producer.send(STREAM, far))
        while not any(log["event"] == "records wait for Kafka" for log in logs):
            await producer.send(STREAM, near)

    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(producer.close(), 0.1)


@pytest.mark.parametrize("is_down", [False, True], ids=["silent", "no leader"])
async def test_a_group_that_begins_gets_the_others_at_once_and_the_rest_when_it_is_there(
    mock: MockCluster, opened: Opener, is_down: bool
) -> None:
    queue = opened(mock.bootstrap, kafka={"socket.timeout.ms": 1000})
    full, empty = FAR
    for number in (*NEAR, full):
        await send(queue, STREAM, [number], key=key_in(number, PARTITIONS))
    mock.down(FAR_BROKER) if is_down else mock.slow(FAR_BROKER, AN_HOUR_MS)
    consumer = queue.consumer(STREAM, STREAM, session_s=SESSION_S)

    with capture_logs() as logs:
        await consumer.start(owner := Owner())
        assert sorted(await fetch(consumer, len(NEAR))) == [*NEAR]
    assert owner.owned.keys() == set(NEAR)
    [told] = [log["partitions"] for log in logs if "nobody says where partitions begin" in log["event"]]
    assert set(told) >= set(FAR)
    mock.up(FAR_BROKER) if is_down else mock.slow(FAR_BROKER, 0)

    assert await fetch(consumer, 1) == [full]
    await owner.owns(PARTITIONS)
    assert {number: at.is_reset for number, at in owner.owned.items()} == {0: True, 1: True, 2: True, empty: False}
    await consumer.commit(owner.owned)
    await consumer.close()


async def test_what_is_ordered_about_the_others_is_obeyed(queue: Queue, mock: MockCluster) -> None:
    mock.slow(FAR_BROKER, 0)
    settings = WorkerSettings(topic=STREAM, group="group", partitions=PARTITIONS, session_s=SESSION_S)
    worker = Worker(settings, Handlers(), queue, looks_every_s=0.05)
    running = asyncio.create_task(worker.run())
    await until(lambda: len([one for one in worker.ownership if one.parking and one.parking.is_ready]) == PARTITIONS)

    mock.slow(FAR_BROKER, AN_HOUR_MS)
    portal = key_in(NEAR[0], PARTITIONS)
    hold = Order(
        portal=portal, what=What.HOLD, stream=names.parked(STREAM), group="group", who="somebody", why="", at_ms=1
    )
    producer = queue.producer()
    await producer.send(names.audit(STREAM), written(hold))
    await until(lambda: [one for one in worker.ownership if one.parking and portal in one.parking.portals])

    worker.stop()
    await running
    await producer.close()
