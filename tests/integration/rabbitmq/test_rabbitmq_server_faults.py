"""A node that is killed, stopped, and refuses, with producers and consumers at work. It starts once for all of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from typing import TypeVar

import pytest
from pika.exceptions import AMQPError
from structlog.testing import capture_logs

from forebay.queues.contract import Queue
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.findings import Needs
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.databases.server import ADMIN
from tests.integration.queue_contract.parts import by_key
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, fetch, record
from tests.integration.queues.stage import Seen, Stage, read_all
from tests.missing import entered
from tests.rabbitmq.server import Server, direct

#: It starts again several times, which on a busy machine takes it most of a minute each time.
pytestmark = pytest.mark.timeout(300)

T = TypeVar("T")

#: Readers one after the other that a node waits for in vain: meanwhile a sequencer would have begun anew.
_TIMES = 5

SESSION_S = "3.0"

#: A node that is killed sooner after a declaration may not know on its way up which files are the queue's.
DECLARED_S = 3.0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with ExitStack() as running:
        yield entered(running, lambda: Server(secured=True))


@pytest.fixture
def url(server: Server) -> str:
    return server.empty()


async def _started(server: Server) -> None:
    # In this thread: the node dies with the one that has started it, and the others don't live as long.
    server.start()
    await asyncio.to_thread(server.wait_ready)


#: What a node has unless it was told otherwise.
USUAL = {"consumer_timeout": 1_800_000, "channel_tick_interval": 60_000, "channel_max": 2047}


@asynccontextmanager
async def _set(server: Server, settings: dict[str, int]) -> AsyncIterator[None]:
    """A node whose settings are changed as it runs, and changed back."""

    async def change(values: dict[str, int]) -> None:
        changes = ", ".join(f"application:set_env(rabbit, {name}, {value})" for name, value in values.items())
        await asyncio.to_thread(server.control, "eval", f"{changes}.")

    await change(settings)
    try:
        yield
    finally:
        await change({name: USUAL[name] for name in settings})


async def _available(call: Callable[[], Awaitable[T]]) -> T:
    """What it gives once the queue is there: a node lets clients in before it has its streams."""
    while True:
        try:
            return await call()
        except QueueUnavailable:
            await asyncio.sleep(0.05)


async def _seen(queue: Queue) -> None:
    """Every partition is there."""
    inspector = queue.inspector()
    try:
        await inspector.bounds(STREAM)
    finally:
        await inspector.close()


async def test_nothing_is_lost_doubled_or_out_of_order_when_the_server_is_killed(
    server: Server, queue: Queue, stage: Stage
) -> None:
    seen = Seen(stage)
    for name in ("one", "two"):
        stage.start("produce_stubbornly.py", name)
        stage.start("consume_forever.py", f"worker-{name}", SESSION_S)
    await seen.until(lambda: {name for name, _ in seen.chronicle.told} == {"worker-one", "worker-two"})
    await asyncio.sleep(DECLARED_S)

    for fault in (server.kill, server.stop):
        count = seen.count
        await seen.until(lambda count=count: seen.count >= count + 400)  # type: ignore[misc]
        await asyncio.to_thread(fault)
        await _started(server)
    count = seen.count
    await seen.until(lambda: seen.count >= count + 400)
    # The producers go first: what they were told counts, and what they were not told may be kept too.
    for producer in stage.processes[::2]:
        producer.kill()
        producer.wait()
    await _available(lambda: _seen(queue))
    found = by_key(await read_all(queue))
    await seen.until(lambda: dict(seen.chronicle.seen) == {key: len(numbers) for key, numbers in found.items()})

    assert all(numbers == list(range(len(numbers))) for numbers in found.values())
    assert all(number <= len(found[key]) for key, number in seen.kept.items())
    assert len(seen.kept) == 40


async def test_a_server_that_is_gone_is_told_and_found_again(server: Server, queue: Queue) -> None:
    producer, inspector, follower = queue.producer(), queue.inspector(), Follower()
    consumer = queue.consumer(STREAM, "group", session_s=2.0)
    leaving, left = queue.consumer(STREAM, "group-that-leaves", session_s=3600), Follower()
    await consumer.start(follower)
    await leaving.start(left)
    await follower.owns(PARTITIONS)
    await left.owns(PARTITIONS)
    position = await producer.send(STREAM, record(0))
    await fetch(consumer, 1)

    with capture_logs() as logs:
        await asyncio.to_thread(server.stop)
        await follower.owns(0)
    for call in (producer.send(STREAM, record(1)), producer.check(), inspector.bounds(STREAM)):
        with pytest.raises(QueueUnavailable, match=r"refused|closed|lost"):
            await call
    await leaving.close()
    await _started(server)

    told = [log["error"] for log in logs if log["event"] == "group_unreachable"]
    assert len(told) == len(set(told))
    assert left.told == ["assigned"] * PARTITIONS + ["revoked"] * PARTITIONS
    await producer.check()
    again = await _available(lambda: producer.send(STREAM, record(2)))
    assert again.offset == position.offset + 1
    # The other partitions may come later than this one.
    bounds = await _available(lambda: inspector.bounds(STREAM))
    assert bounds[again.partition].end == again.offset + 1
    # Nothing was committed, so the group begins again.
    await follower.owns(PARTITIONS)
    assert await _available(lambda: fetch(consumer, 2)) == [b"0", b"2"]
    for part in (consumer, producer, inspector):
        await part.close()


async def test_an_alarm_of_the_server_is_told_and_holds_nothing_back_afterwards(server: Server, queue: Queue) -> None:
    producer = queue.producer()
    await producer.send(STREAM, record(0))

    await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "absolute", "1MB")
    with pytest.raises(QueueUnavailable, match=r"alarm.*memory"):
        # The node tells it when something comes in.
        while True:
            await producer.check()
    with pytest.raises(QueueUnavailable, match=r"alarm.*memory"):
        await producer.send(STREAM, record(1))
    await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "0.4")

    await _available(lambda: producer.send(STREAM, record(2)))
    await producer.close()


async def test_whoever_wants_something_while_there_is_an_alarm_is_told_so_and_does_not_wait_for_its_end(
    server: Server, queue: Queue
) -> None:
    await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "absolute", "1MB")
    producer, consumer = queue.producer(), queue.consumer(STREAM, "group-of-the-alarm", session_s=2.0)
    needs = Needs(streams={STREAM: frozenset()}, partitions=PARTITIONS, events=STREAM)
    try:
        for call in (producer.check(), queue.ensure(["stream-of-the-alarm"], 1), consumer.start(Follower())):
            with pytest.raises(QueueUnavailable, match=r"alarm.*memory"):
                await call
        found = {one.check: one async for one in queue.diagnose(needs)}
    finally:
        await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "0.4")

    assert found["queue alarms"].state == "fail"
    assert "rabbitmq-diagnostics alarms" in found["queue alarms"].remedy
    assert found["queue intakes"].state == "ok"
    await _available(lambda: producer.send(STREAM, record(2)))
    for part in (producer, consumer):
        await part.close()


async def test_who_loses_all_by_an_alarm_of_the_server_is_not_taken_for_well_and_has_it_again_afterwards(
    server: Server, queue: Queue
) -> None:
    consumer = queue.consumer(STREAM, "group-of-the-alarm", session_s=2.0)
    await consumer.start(follower := Follower())
    await follower.owns(PARTITIONS)

    await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        await follower.owns(0)
        with pytest.raises(QueueUnavailable, match=r"alarm.*memory"):
            async with asyncio.timeout(30):
                while True:
                    await consumer.fetch(1, 0.1)
    finally:
        await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "0.4")

    await follower.owns(PARTITIONS)
    assert await _available(lambda: consumer.fetch(1, 0.1)) == []
    await consumer.close()


async def test_a_node_that_waits_less_long_than_an_intake_keeps_is_told_or_overruled_and_loses_nothing(
    server: Server, queue: Queue
) -> None:
    producer, sent, is_heard = queue.producer(), 0, _hears_readers(server)
    async with _set(server, {"consumer_timeout": 500, "channel_tick_interval": 100}):
        with capture_logs() as logs:
            others = asyncio.create_task(asyncio.to_thread(_given_up, server)) if is_heard else None
            while not (others.done() if others else _is_told("raise consumer_timeout", logs)):
                await producer.send(STREAM, record(sent))
                sent += 1

    assert not (is_heard and _is_told("sequencer_took_over", logs))
    assert [int(one.value) for one in await read_all(queue)] == list(range(sent))
    await producer.close()


def _is_told(words: str, logs: Sequence[Mapping[str, object]]) -> bool:
    return any(words in f"{log['event']} {log.get('error')}" for log in logs)


def _hears_readers(server: Server) -> bool:
    """Whether each reader says for himself how long the node waits for him."""
    with closing(direct(server.url())) as connection:
        version = connection._impl.server_properties["version"]
    return tuple(map(int, version.split(".")[:2])) >= (4, 3)


def _given_up(server: Server) -> None:
    """Return when the node has waited long enough, again and again, for a reader who says nothing for himself."""
    queue = "impatient"
    for _ in range(_TIMES):
        # The library stumbles over a reader that was ended.
        with suppress(AMQPError), closing(direct(server.url())) as connection:
            ended, channel = list[object](), connection.channel()
            channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
            channel.basic_publish("", queue, b"1")
            channel.add_on_cancel_callback(ended.append)
            channel.basic_consume(queue, lambda *_: None)
            while not ended:
                connection.process_data_events(0.1)
    with closing(direct(server.url())) as connection:
        connection.channel().queue_delete(queue)


@pytest.mark.parametrize(
    ("set_to", "back", "told"),
    [
        (("set_vhost_limits", '{"max-connections":1}'), ("clear_vhost_limits",), "set_vhost_limits, max-connections"),
        (("set_vhost_limits", '{"max-queues":1}'), ("clear_vhost_limits",), "set_vhost_limits, max-queues"),
        (("set_user_limits", ADMIN, '{"max-connections":1}'), ("clear_user_limits", ADMIN, "all"), "set_user_limits"),
    ],
)
async def test_a_limit_of_the_server_is_told_with_what_to_do(
    server: Server, queue: Queue, set_to: tuple[str, ...], back: tuple[str, ...], told: str
) -> None:
    producer = queue.producer()
    await producer.check()

    await asyncio.to_thread(server.control, *set_to)
    try:
        with pytest.raises(QueueError, match=told):
            await queue.ensure(["stream-of-the-limit"], PARTITIONS)
    finally:
        await asyncio.to_thread(server.control, *back)

    await producer.close()


async def test_too_few_channels_for_all_partitions_are_found(server: Server, queue: Queue) -> None:
    needs = Needs(streams={STREAM: frozenset()}, partitions=PARTITIONS, events=STREAM)
    async with _set(server, {"channel_max": PARTITIONS + 8}):
        found = {one.check: one async for one in queue.diagnose(needs)}

    assert found["queue channels"].state == "fail"
    assert "channel_max = " in found["queue channels"].remedy


async def test_a_node_on_which_no_queue_gets_a_leader_is_told_with_what_to_do(server: Server, queue: Queue) -> None:
    producer = queue.producer()
    await asyncio.to_thread(server.control, "eval", "supervisor:terminate_child(rabbit_sup, rabbit_fifo_dlx_sup).")
    try:
        await queue.ensure(["third"], PARTITIONS)
    except QueueUnavailable as error:
        # One of 4 makes none at all.
        assert "start the node anew" in str(error)
        sending = None
    else:
        sending = asyncio.create_task(producer.send("third", record(0)))
        with capture_logs() as logs:
            while not _is_told("start the node anew", logs):
                await asyncio.sleep(0.05)
    await asyncio.to_thread(server.stop)
    await _started(server)

    await (sending or _available(lambda: queue.ensure(["third"], PARTITIONS)))
    await producer.close()


async def test_over_tls_both_sides_know_whom_they_talk_to(server: Server, queue: Queue) -> None:
    producer = open_queue(QueueSettings(queue_url=server.secure_url())).producer()
    await producer.send(STREAM, record(0))
    await producer.close()

    stranger = open_queue(QueueSettings(queue_url=server.secure_url().partition("?")[0])).producer()
    with pytest.raises(QueueUnavailable, match=r"(?i)certificate.verify.failed.*cafile"):
        await stranger.check()
    await stranger.close()
