"""The connection breaks while a batch is written: each record stands there once, or is told as not kept."""

import asyncio
import signal
from collections.abc import Callable

import pytest
from redis.exceptions import ConnectionError as LostConnection
from structlog.testing import capture_logs

from forebay.queues.batches.producer import BatchProducer
from forebay.queues.contract import Position, Producer, Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.redis import scripts
from forebay.queues.redis.address import address
from forebay.queues.redis.connection import RedisStore, _digest
from forebay.queues.redis.producer import _RedisWriter
from forebay.queues.redis.reading import News
from forebay.queues.redis.streams import find
from forebay.queues.settings import QueueSettings
from tests.databases.server import PASSWORD
from tests.integration.queue_faults.relay import relayed, sent_through
from tests.integration.queues.members import PARTITIONS, STREAM, record
from tests.integration.queues.stage import read_all
from tests.redis.server import RedisServer, direct

#: What stands in each batch on its way.
BATCH = _digest(scripts.APPEND).encode()


@pytest.mark.parametrize("how", ["lose_answer", "lose_commit", "leave_open"])
async def test_a_batch_whose_answer_is_lost_stands_there_once(url: str, queue: Queue, how: str) -> None:
    async with relayed(url, "", BATCH) as (relay, through):
        producer = open_queue(QueueSettings(queue_url=through)).producer()

        outcomes = await sent_through(relay, producer, how)
        await producer.close()

    assert [one.offset for one in outcomes if isinstance(one, Position)] == list(range(6))
    assert [one.value for one in await read_all(queue)] == [b"0", b"1", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize(("how", "kept"), [("lose_answer", True), ("lose_commit", False)])
async def test_a_server_that_refuses_when_asked_again_says_what_became_of_the_batch(
    url: str, queue: Queue, how: str, kept: bool
) -> None:
    async with relayed(url, "", BATCH) as (relay, through):
        producer = open_queue(QueueSettings(queue_url=through)).producer()
        await producer.send(STREAM, record(0))
        setattr(relay, how, True)
        sending = asyncio.create_task(producer.send(STREAM, record(1)))
        while getattr(relay, how):
            await asyncio.sleep(0.01)
        # Its memory is full by now.
        with direct(url) as admin:
            [limit] = admin.config_get("maxmemory").values()
            admin.config_set("maxmemory", "1")
        [outcome] = await asyncio.gather(sending, return_exceptions=True)
        with direct(url) as admin:
            admin.config_set("maxmemory", limit)
        last = await producer.send(STREAM, record(2))
        await producer.close()

    assert isinstance(outcome, Position if kept else QueueUnavailable)
    assert last.offset == 1 + kept
    assert [one.value for one in await read_all(queue)] == [b"0", b"1", b"2"][:: 1 if kept else 2]


async def test_a_batch_that_comes_after_it_was_given_up_is_not_written(store: RedisStore) -> None:
    connection = store.connect()
    about = connection.ask("HGET", "forebay:{events}:about", "id")
    keys = [f"forebay:{{events}}:{name}" for name in ("about", "ends", "producer:p", "log:0")]
    batch = (about, 7, 60_000, "news", b"[[0,1]]", 0, "portal", 1, b"", b"late")

    decided = connection.run(scripts.DECIDE, [keys[2]], 7, 60_000)
    answer = connection.run(scripts.APPEND, keys, *batch)

    assert decided == b""
    assert answer == [b"kept", b""]
    assert connection.ask("XLEN", keys[3]) == 0
    connection.close()


async def test_a_batch_that_comes_after_a_later_one_is_told_as_not_kept(store: RedisStore, queue: Queue) -> None:
    threads = [store.thread("first"), store.thread("second")]
    writers = [_RedisWriter(store, thread) for thread in threads]
    writers[1]._me = writers[0]._me
    first, second = (BatchProducer(writer, thread) for writer, thread in zip(writers, threads, strict=True))
    for number in range(3):
        await first.send(STREAM, record(number))

    with pytest.raises(QueueUnavailable, match="after a later one"):
        await second.send(STREAM, record(3))

    assert [one.value for one in await read_all(queue)] == [b"0", b"1", b"2"]
    for part in (first, second):
        await part.close()


async def test_a_producer_goes_on_with_a_stream_that_was_made_anew(url: str, queue: Queue, producer: Producer) -> None:
    await producer.send(STREAM, record(0))
    with direct(url) as admin:
        admin.flushdb()
    await queue.ensure([STREAM], PARTITIONS)

    with pytest.raises(QueueUnavailable, match="was made anew"):
        await producer.send(STREAM, record(1))
    await producer.send(STREAM, record(2))

    assert [one.value for one in await read_all(queue)] == [b"2"]


async def test_a_batch_is_undecided_for_as_long_as_a_server_that_came_back_is_refused(url: str, queue: Queue) -> None:
    async with relayed(url, "", BATCH) as (relay, through):
        producer = open_queue(QueueSettings(queue_url=through)).producer()
        await producer.send(STREAM, record(0))
        with direct(url) as admin, capture_logs() as logs:
            [policy] = admin.config_get("maxmemory-policy").values()
            admin.config_set("maxmemory-policy", "allkeys-lru")
            relay.lose_answer = True
            sending = asyncio.create_task(producer.send(STREAM, record(1)))
            while not sending.done() and not any("noeviction" in log.get("error", "") for log in logs):
                await asyncio.sleep(0.01)
            admin.config_set("maxmemory-policy", policy)
        [outcome] = await asyncio.gather(sending, return_exceptions=True)
        await producer.close()

    assert isinstance(outcome, Position)
    assert [one.value for one in await read_all(queue)] == [b"0", b"1"]


async def test_a_batch_of_which_nobody_says_who_has_it_is_undecided(redis_servers: Callable[..., RedisServer]) -> None:
    primary = redis_servers("repl-diskless-sync-delay 0")
    redis_servers(f"replicaof 127.0.0.1 {primary.port}", f'masterauth "{PASSWORD}"')
    queue = open_queue(QueueSettings(queue_url=f"redis://asks:hush@127.0.0.1:{primary.port}/0?replicas=1"))
    with direct(primary.url()) as admin, capture_logs() as logs:
        admin.execute_command("ACL", "SETUSER", "asks", "on", ">hush", "~*", "&*", "+@all")
        await queue.ensure([STREAM], 1)
        producer = queue.producer()
        await producer.send(STREAM, record(0))
        admin.execute_command("ACL", "SETUSER", "asks", "-wait")
        sending = asyncio.create_task(producer.send(STREAM, record(1)))
        while not sending.done() and not any("no permissions" in log.get("error", "") for log in logs):
            await asyncio.sleep(0.01)
        admin.execute_command("ACL", "SETUSER", "asks", "+wait")
    [outcome] = await asyncio.gather(sending, return_exceptions=True)

    assert isinstance(outcome, Position)
    assert [one.value for one in await read_all(queue)] == [b"0", b"1"]
    for part in (producer, queue):
        await part.close()


@pytest.mark.parametrize("asked_again", [scripts.APPEND, scripts.DECIDE], ids=["append", "decide"])
async def test_a_batch_that_another_connection_has_written_counts_as_copied_when_the_replicas_have_it(
    redis_servers: Callable[..., RedisServer], asked_again: str
) -> None:
    primary = redis_servers("repl-diskless-sync-delay 0")
    replica = redis_servers(f"replicaof 127.0.0.1 {primary.port}", f'masterauth "{PASSWORD}"')
    queue, store = open_queue(QueueSettings(queue_url=primary.url())), RedisStore(address(primary.url("?replicas=1")))
    await queue.ensure([STREAM], 1)
    lost, second = store.connect(), store.connect()
    while not lost.is_copied(1):
        lost.ask("SET", "here", "1")
    about = lost.ask("HGET", "forebay:{events}:about", "id")
    keys = [f"forebay:{{events}}:{name}" for name in ("about", "ends", "producer:p", "log:0")]
    batch = (about, 0, 60_000, "news", b"[[0,1]]", 0, "portal", 1, b"", b"value")

    replica.signal_all(signal.SIGSTOP)
    lost.run(scripts.APPEND, keys, *batch)
    left_ms = lost.ask("PTTL", keys[2])
    if asked_again == scripts.APPEND:
        second.run(scripts.APPEND, keys, *batch)
    else:
        second.run(scripts.DECIDE, [keys[2]], 0, 60_000)
    is_copied = second.is_copied(1)
    replica.signal_all(signal.SIGCONT)

    assert not is_copied
    # What nobody can ask for any more goes by itself.
    assert 0 < left_ms <= 60_000
    for part in (lost, second):
        part.close()
    await queue.close()


async def test_who_may_not_ask_the_replicas_writes_nothing(url: str, queue: Queue) -> None:
    producer = open_queue(QueueSettings(queue_url=f"{_as_another(url)}?replicas=1")).producer()
    with direct(url) as admin:
        admin.execute_command("ACL", "SETUSER", "asks", "on", ">hush", "~*", "&*", "+@all", "-wait")
        try:
            with pytest.raises(QueueUnavailable, match=r"docs/redis\.md"):
                await producer.send(STREAM, record(0))
        finally:
            admin.acl_deluser("asks")

    assert await read_all(queue) == []
    await producer.close()


def _as_another(url: str) -> str:
    return url.replace(url.split("//")[1].split("@")[0], "asks:hush")


async def test_a_subscription_that_broke_in_the_middle_of_a_message_is_told(store: RedisStore, queue: Queue) -> None:
    connection = store.connect()
    stream = find(connection, STREAM)
    news = News(stream)
    news.begin(connection)

    # As the client does where a message stops half-way.
    connection.subscription(stream.keys.news)._connection.disconnect()

    with pytest.raises(LostConnection):
        news.begin(connection)
    connection.close()


async def test_a_batch_that_nobody_can_decide_is_given_up_with_the_producer(url: str, queue: Queue) -> None:
    async with relayed(url, "", BATCH) as (relay, through):
        producer = open_queue(QueueSettings(queue_url=through)).producer()
        await producer.send(STREAM, record(0))
        relay.lose_answer = relay.shut = True
        sending = asyncio.create_task(producer.send(STREAM, record(1)))
        while relay.lose_answer:
            await asyncio.sleep(0.01)
        closing = asyncio.create_task(producer.close())
        await asyncio.sleep(0)
        undecided = not sending.done()
        closing.cancel()

        with pytest.raises(QueueUnavailable):
            await sending

    assert undecided
