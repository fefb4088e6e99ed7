"""A server that is killed, stopped, hangs, and comes back, with producers and consumers at work."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from forebay.queues.contract import Consumer, Queue, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.portals.contract import Fact
from forebay.queues.portals.following import Following
from forebay.queues.settings import QueueSettings
from tests.databases.server import DatabaseServer
from tests.integration.queue_contract.parts import by_key
from tests.integration.queue_faults.relay import relayed
from tests.integration.queue_faults.systems import System
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, fetch, record
from tests.integration.queues.stage import Chronicle, Seen, Stage, follow, read_all
from tests.waiting import until

SESSION_S = "1.0"


@pytest.fixture
def url(server: DatabaseServer) -> str:
    return server.url()


def _killed(server: DatabaseServer, system: System) -> None:
    server.kill()
    server.start()


def _stopped(server: DatabaseServer, system: System) -> None:
    server.stop()
    server.start()


def _a_session_ended(server: DatabaseServer, system: System) -> None:
    system.end_a_session(server)


@pytest.mark.parametrize("fault", [_killed, _stopped, _a_session_ended], ids=["killed", "stopped", "a-session-ended"])
async def test_nothing_is_lost_doubled_or_out_of_order_when_the_server_goes(
    server: DatabaseServer, system: System, queue: Queue, stage: Stage, fault: Callable[..., None]
) -> None:
    seen = Seen(stage)
    for name in ("one", "two"):
        stage.start("produce_stubbornly.py", name)
        stage.start("consume_forever.py", f"worker-{name}", SESSION_S)
    # Both have come in: a consumer that can't join at its start says so, and ends.
    await seen.until(lambda: {name for name, _ in seen.chronicle.told} == {"worker-one", "worker-two"})

    for _ in range(3):
        count = seen.count
        await seen.until(lambda count=count: seen.count >= count + 400)  # type: ignore[misc]
        await asyncio.to_thread(fault, server, system)
    count = seen.count
    await seen.until(lambda: seen.count >= count + 400)
    # The producers go first: what they were told counts, and what they were not told may be kept too.
    for producer in stage.processes[::2]:
        producer.kill()
        producer.wait()
    # The last lines may be of before the fault.
    await asyncio.to_thread(server.wait_ready)
    found = by_key(await read_all(queue))
    await seen.until(lambda: dict(seen.chronicle.seen) == {key: len(numbers) for key, numbers in found.items()})

    assert all(numbers == list(range(len(numbers))) for numbers in found.values())
    assert all(number <= len(found[key]) for key, number in seen.kept.items())
    assert len(seen.kept) == 40


async def test_killed_producers_consumers_and_servers_at_once_lose_nothing(
    server: DatabaseServer, queue: Queue, stage: Stage
) -> None:
    chronicle = Chronicle()
    producer = queue.producer()
    sending = asyncio.create_task(_send_all(queue, 150))
    running = [stage.start("consume_forever.py", f"first{number}", SESSION_S) for number in range(2)]

    for turn in range(3):
        target = chronicle.count + 300
        await follow(stage, chronicle, lambda target=target: chronicle.count >= target)  # type: ignore[misc]
        running.pop(0).kill()
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(server.wait_ready)
        running.append(stage.start("consume_forever.py", f"turn{turn}", SESSION_S))
    await sending
    await follow(stage, chronicle, lambda: chronicle.count == 20 * 150)

    assert dict(chronicle.seen) == {f"portal{key}": 150 for key in range(20)}
    await producer.close()


async def _send_all(queue: Queue, each: int) -> None:
    """Records of 20 portals, each portal's one after the other, and each until it is kept."""
    producer = queue.producer()

    async def send(key: str) -> None:
        number = 0
        while number < each:
            try:
                await producer.send(STREAM, Record(key=key, value=str(number).encode(), timestamp_ms=number))
            except QueueUnavailable:
                await asyncio.sleep(0.02)
            else:
                number += 1

    await asyncio.gather(*(send(f"portal{key}") for key in range(20)))
    await producer.close()


async def test_a_server_that_hangs_holds_records_up_and_loses_none(server: DatabaseServer, queue: Queue) -> None:
    producer, consumer, follower = queue.producer(), queue.consumer(STREAM, "group", session_s=60.0), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    await producer.send(STREAM, record(0))

    server.signal_all(signal.SIGSTOP)
    sending = [asyncio.create_task(producer.send(STREAM, record(number))) for number in range(1, 4)]
    done, _ = await asyncio.wait(sending, timeout=0.5)
    server.signal_all(signal.SIGCONT)
    positions = await asyncio.gather(*sending)

    assert done == set()
    assert [position.offset for position in positions] == [1, 2, 3]
    assert await fetch(consumer, 4) == [b"0", b"1", b"2", b"3"]
    await consumer.close()
    await producer.close()


async def test_every_part_heals_after_the_server_was_away(server: DatabaseServer, system: System, queue: Queue) -> None:
    producer, inspector, follower = queue.producer(), queue.inspector(), Follower()
    consumer = queue.consumer(STREAM, "group", session_s=3.0)
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    await producer.send(STREAM, record(0))
    await fetch(consumer, 1)

    with capture_logs() as logs:
        server.stop()
        await follower.owns(0)
        # On a machine that stood still until the session was over, it is tried, and told, a moment later.
        await until(lambda: any(log["event"] == "group_unreachable" for log in logs))
    for call in (producer.send(STREAM, record(1)), producer.check(), inspector.bounds(STREAM)):
        with pytest.raises(QueueUnavailable, match=system.gone):
            await call
    server.start()
    await asyncio.to_thread(server.wait_ready)

    # What is told is told once, although it is tried several times a second.
    told = [log["error"] for log in logs if log["event"] == "group_unreachable"]
    assert len(told) == len(set(told)) > 0
    await producer.check()
    position = await producer.send(STREAM, record(2))
    await follower.owns(PARTITIONS)
    assert position.offset > system.leap if system.leap else position.offset == 1
    assert (await inspector.bounds(STREAM))[position.partition].end == position.offset + 1
    # Nothing was committed, so the group begins again.
    assert await _fetch(consumer, 2) == [b"0", b"2"]
    for part in (consumer, producer, inspector):
        await part.close()


async def test_who_reads_goes_with_its_group_where_the_name_leads_by_now(
    system: System, request: pytest.FixtureRequest
) -> None:
    """Of a server that takes no writes any more only who writes hears: who reads could wait there for ever."""
    starts = request.getfixturevalue(system.servers)
    left, taken = starts(), starts()
    queues = [open_queue(QueueSettings(queue_url=server.url())) for server in (left, taken)]
    for queue in queues:
        await queue.ensure([STREAM], PARTITIONS)
    system.copy(left, taken)
    producer, follower = queues[1].producer(), Follower()
    async with relayed(left.url(), "") as (relay, url):
        queue = open_queue(QueueSettings(queue_url=url))
        consumer, inspector = queue.consumer(STREAM, "group", session_s=1.0), queue.inspector()
        await consumer.start(follower)
        await follower.owns(PARTITIONS)
        await inspector.bounds(STREAM)
        fetching = asyncio.create_task(_fetched(consumer))

        system.take_no_writes(left)
        await follower.owns(0)
        relay.lead_to(taken.port)
        position = await producer.send(STREAM, record(0))

        assert await fetching == b"0"
        # Whoever waits for what was parked looks from outside of the group, too.
        assert (await inspector.bounds(STREAM))[position.partition].end == position.offset + 1
        for part in (consumer, inspector):
            await part.close()
    await producer.close()
    for queue in queues:
        await queue.close()


async def test_who_follows_portals_goes_where_the_name_leads_by_now(
    system: System, request: pytest.FixtureRequest
) -> None:
    """An ingest that stays behind would refuse the calls of portals that others have come to know since."""
    starts = request.getfixturevalue(system.servers)
    left, taken = starts(), starts()
    stores = [open_queue(QueueSettings(queue_url=server.url())).portals("portals") for server in (left, taken)]
    for store in stores:
        await store.ensure()
    system.copy(left, taken)
    async with relayed(left.url(), "") as (relay, url):
        following = Following(open_queue(QueueSettings(queue_url=url)).portals("portals"))
        following.open()
        await following.refresh(60)

        relay.lead_to(taken.port)
        system.take_no_writes(left)
        place = await stores[1].put([Fact("portal", b"known")])

        await following.reached(place, 60)
        await following.close()
    for store in stores:
        await store.close()


async def _fetched(consumer: Consumer) -> bytes:
    """The first record that comes, by calls that are as short as a worker's."""
    while True:
        with suppress(QueueUnavailable):
            for found in await consumer.fetch(1, 0.1):
                return found.value


async def _fetch(consumer: object, count: int) -> list[bytes]:
    """As `fetch`, past the error that a connection of before gives once."""
    while True:
        with suppress(QueueUnavailable):
            return await fetch(consumer, count)  # type: ignore[arg-type]


async def test_a_consumer_and_a_producer_can_be_closed_while_the_server_is_away(
    server: DatabaseServer, queue: Queue
) -> None:
    producer, consumer, follower = queue.producer(), queue.consumer(STREAM, "group", session_s=3600), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    await producer.send(STREAM, record(0))

    server.stop()
    await consumer.close()
    await producer.close()

    assert follower.told == ["assigned"] * PARTITIONS + ["revoked"] * PARTITIONS
