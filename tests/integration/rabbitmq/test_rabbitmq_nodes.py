"""Several nodes in `queue_url`: whoever can't come in by one does by another. Here each leads to the same server."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from forebay.queues.contract import Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.findings import Needs
from forebay.queues.opening import open_queue
from forebay.queues.rabbitmq import reaching
from forebay.queues.settings import QueueSettings
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, fetch, record
from tests.integration.queues.stage import read_all
from tests.integration.rabbitmq.relay import Relay, relayed
from tests.rabbitmq.server import MAX_MESSAGE_BYTES, Server

NEEDS = Needs(streams={STREAM: frozenset()}, partitions=PARTITIONS, events=STREAM)


class InTurn:
    """Takes the nodes as they are named."""

    @staticmethod
    def sample(nodes: list[Any], count: int) -> list[Any]:
        return nodes


@pytest.fixture
def in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "_random", InTurn)


@contextmanager
def silent(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A node that hangs: its system lets clients in, and it never says a word. Its port."""
    with socket.create_server((host, port)) as server:
        yield server.getsockname()[1]


@asynccontextmanager
async def two_ways(url: str) -> AsyncIterator[tuple[Relay, Relay, Queue]]:
    async with relayed(url) as (one, by_one), relayed(url) as (two, by_two):
        second = by_two.rpartition("@")[2].partition("/")[0]
        yield one, two, open_queue(QueueSettings(queue_url=by_one.replace("/%2F", f",{second}/%2F")))


async def test_a_node_that_is_gone_stops_nobody_who_knows_another(queue: Queue, url: str) -> None:
    async with two_ways(url) as (one, two, through):
        producer, consumer, follower = through.producer(), through.consumer(STREAM, "group"), Follower()
        await consumer.start(follower)
        await follower.owns(PARTITIONS)
        found, sent = list[bytes](), 0
        for gone, there in ((one, two), (two, one), (one, two)):
            there.is_open, gone.is_open = True, False
            gone.cut()
            for number in range(sent, sent + 10):
                await _sent(producer, number)
            sent += 10
            while len(found) < sent:
                found += await _fetched(consumer)
        for part in (producer, consumer):
            await part.close()

    assert [int(one.value) for one in await read_all(queue)] == list(range(sent))
    assert list(map(int, found)) == list(range(sent))
    assert "lost" not in follower.told


async def _sent(producer: Any, number: int) -> None:
    while True:
        try:
            await producer.send(STREAM, record(number))
        except QueueUnavailable:
            await asyncio.sleep(0.02)
        else:
            return


async def _fetched(consumer: Any) -> list[bytes]:
    try:
        return await fetch(consumer, 1)
    except QueueUnavailable:
        await asyncio.sleep(0.02)
        return []


@pytest.mark.usefixtures("in_turn")
async def test_a_node_that_hangs_is_passed_over(queue: Queue, url: str) -> None:
    with silent() as port:
        producer = open_queue(QueueSettings(queue_url=url.replace("@", f"@127.0.0.1:{port},"))).producer()
        await producer.check()
        await producer.close()


async def test_a_name_with_several_addresses_is_as_good_as_several_names(
    queue: Queue, rabbitmq: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(asyncio.get_running_loop())
    look_up = kind.getaddrinfo

    async def both(loop: asyncio.AbstractEventLoop, host: str, port: int, **named: Any) -> Any:
        if host != "mq.example":
            return await look_up(loop, host, port, **named)
        return [*await look_up(loop, "127.0.0.2", port, **named), *await look_up(loop, "127.0.0.1", port, **named)]

    monkeypatch.setattr(kind, "getaddrinfo", both)
    url = rabbitmq.url().replace("127.0.0.1", "mq.example")
    with silent("127.0.0.2", rabbitmq.port):
        producer = open_queue(QueueSettings(queue_url=url)).producer()
        await producer.check()
        await producer.close()


async def test_where_none_lets_us_in_it_is_told_what_each_said(url: str) -> None:
    both = "amqp://user:hush@127.0.0.1:1,127.0.0.1:2/"
    producer = open_queue(QueueSettings(queue_url=both)).producer()

    with pytest.raises(QueueUnavailable, match=r"127\.0\.0\.1:1/: .*refused.*; amqp://127\.0\.0\.1:2/: .*refused"):
        await producer.check()

    await producer.close()


async def test_doctor_looks_at_each_node_that_is_named(queue: Queue, url: str) -> None:
    async with two_ways(url) as (_, two, through):
        fine = {one.check: one async for one in through.diagnose(NEEDS)}
        two.is_open = False
        found = {one.check: one async for one in through.diagnose(NEEDS)}

    assert (fine["queue nodes"].state, found["queue nodes"].state) == ("ok", "warn")
    assert fine["queue streams"].state == found["queue streams"].state == "ok"


async def test_doctor_tells_that_the_server_takes_no_record_so_large(queue: Queue, rabbitmq: Server) -> None:
    needs = Needs(streams=NEEDS.streams, partitions=PARTITIONS, events=STREAM, record_bytes=100_000)
    fine = {one.check: one async for one in queue.diagnose(needs)}
    try:
        await asyncio.to_thread(rabbitmq.take_at_most, 65_536)
        found = {one.check: one async for one in queue.diagnose(needs)}
    finally:
        await asyncio.to_thread(rabbitmq.take_at_most, MAX_MESSAGE_BYTES)

    assert fine["queue size"].state == "ok"
    assert found["queue size"].state == "fail"
    assert "larger than configured max size 65536" in found["queue size"].detail
    assert "max_message_size = 104096" in found["queue size"].remedy
