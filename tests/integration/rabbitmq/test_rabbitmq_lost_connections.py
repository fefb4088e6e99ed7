"""Connections that are cut while the node goes on, and streams that are cut behind a group's members."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from itertools import count
from typing import TypeVar
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from forebay.queues.contract import Commit, Producer, Queue, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.rabbitmq import consumer as consumers
from forebay.queues.rabbitmq import logs, states
from forebay.queues.rabbitmq.address import address
from forebay.queues.rabbitmq.connection import Connection
from forebay.queues.rabbitmq.looking import end_of, start_of
from forebay.queues.rabbitmq.writer import Writer
from forebay.queues.settings import QueueSettings
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, fetch, record
from tests.integration.queues.stage import by_key, read_all
from tests.rabbitmq.server import direct

KEYS, EACH, DEPTH = 8, 150, 10

T = TypeVar("T")


class Relay:
    """Passes everything on, until it cuts all connections."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.cuts = 0
        self.is_open = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_open:
            writer.transport.abort()
            return
        theirs, ours = await asyncio.open_connection(self._host, self._port)
        self._writers += [writer, ours]
        self._tasks += [asyncio.create_task(_pass(reader, ours)), asyncio.create_task(_pass(theirs, writer))]

    def cut(self) -> None:
        self.cuts += 1
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.transport.abort()

    async def close(self) -> None:
        self.cut()
        await asyncio.gather(*self._tasks)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while sent := await reader.read(65_536):
            writer.write(sent)
    except ConnectionError:
        pass
    writer.close()


@asynccontextmanager
async def relayed(url: str) -> AsyncIterator[tuple[Relay, str]]:
    """A relay, and the URL that leads through it."""
    port = urlsplit(url).port or 0
    relay = Relay("127.0.0.1", port)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    try:
        yield relay, url.replace(f":{port}/", f":{server.sockets[0].getsockname()[1]}/")
    finally:
        server.close()
        await relay.close()


async def test_records_of_a_key_are_kept_in_their_order_over_connections_that_are_cut(queue: Queue, url: str) -> None:
    async with relayed(url) as (relay, through):
        producer = open_queue(QueueSettings(queue_url=through)).producer()
        kept = await asyncio.gather(*(_send(producer, f"portal{number}", relay) for number in range(KEYS)))
        await producer.close()

    # What was under way when a connection was cut may stand there twice, but never before what came before it.
    firsts = {key: list(dict.fromkeys(numbers)) for key, numbers in by_key(await read_all(queue)).items()}
    assert relay.cuts > 5
    assert firsts == {f"portal{number}": list(range(EACH)) for number in range(KEYS)}
    assert kept == [EACH] * KEYS


async def _send(producer: Producer, key: str, relay: Relay) -> int:
    """Several at the same time; what was refused, and so was not kept, is sent again with all behind it."""
    kept = 0
    while kept < EACH:
        numbers = range(kept, min(kept + DEPTH, EACH))
        records = [Record(key=key, value=str(one).encode(), timestamp_ms=one) for one in numbers]
        sent = [asyncio.create_task(producer.send(STREAM, one)) for one in records]
        if key == "portal0" and kept % 20 == 0:
            await asyncio.wait([sent[0]])
            # The others are on their way, or their answers are.
            relay.cut()
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        refused = [isinstance(one, QueueUnavailable) for one in outcomes]
        assert all(isinstance(one, QueueUnavailable) for one in outcomes if isinstance(one, BaseException))
        assert refused == sorted(refused), "one was refused, and what was sent behind it was kept"
        kept += refused.count(False)
        if any(refused):
            await asyncio.sleep(0.02)
    return kept


async def test_a_consumer_goes_on_over_connections_that_are_cut(producer: Producer, url: str) -> None:
    async with relayed(url) as (relay, through):
        queue, follower = open_queue(QueueSettings(queue_url=through)), Follower()
        consumer = queue.consumer(STREAM, "group", session_s=30.0)
        await consumer.start(follower)
        await follower.owns(PARTITIONS)
        found: list[bytes] = []
        for turn in range(3):
            sent = [await producer.send(STREAM, record(turn * 5 + number)) for number in range(5)]
            found += await _fetched(consumer)
            # Some of the others have come already, and belong to the connection.
            relay.cut()
            while len(found) < (turn + 1) * 5:
                found += await _fetched(consumer)
            await consumer.commit({sent[-1].partition: Commit(offset=sent[-1].offset + 1)})
        await consumer.close()

    assert found == [b"%d" % number for number in range(15)]
    assert follower.told == ["assigned"] * PARTITIONS + ["revoked"] * PARTITIONS


async def _fetched(consumer: object) -> list[bytes]:
    while True:
        try:
            return await fetch(consumer, 1)  # type: ignore[arg-type]
        except QueueUnavailable:
            await asyncio.sleep(0.02)


def _shorten(monkeypatch: pytest.MonkeyPatch, state_every: int) -> None:
    """Have groups' streams cut to 20 kB."""
    monkeypatch.setattr(logs, "_GROUP_BYTES", 20_000)
    monkeypatch.setattr(logs, "_PARTITION_BYTES", 0)
    monkeypatch.setattr(logs, "_SEGMENT_BYTES", 2_000)
    monkeypatch.setattr(states, "STATE_EVERY_BYTES", state_every)


async def test_a_group_whose_beginning_was_cut_off_does_not_begin_anew_in_silence(
    queue: Queue, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _shorten(monkeypatch, state_every=10**9)
    consumer, follower = queue.consumer(STREAM, "group", session_s=30.0), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    connection = await Connection(address(url), "test").open()
    while await start_of(connection, logs.group_log(STREAM, "group")) == 0:
        for number in range(50):
            await consumer.commit({1: Commit(offset=0, note=b"%d" % number)})
    late, inspector = queue.consumer(STREAM, "group", session_s=1.0), queue.inspector()

    with monkeypatch.context() as patched:
        # As a member of an older version, or one that is away.
        patched.setattr(states.States, "tell", lambda self, me, position: None)
        with pytest.raises(QueueUnavailable, match="lacks its beginning"):
            await late.start(Follower())
        with pytest.raises(QueueUnavailable, match="lacks its beginning"):
            await inspector.groups(STREAM)
    # A state that somebody writes is all that was missing.
    after, joined = queue.consumer(STREAM, "group", session_s=30.0), Follower()
    await after.start(joined)
    await joined.owns(PARTITIONS // 2)

    assert len(follower.owned) == PARTITIONS // 2
    assert len((await inspector.groups(STREAM))["group"]) == PARTITIONS
    for part in (late, after, consumer, inspector, connection):
        await part.close()


def _name(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    """Have members that start from now on called so."""
    monkeypatch.setattr(consumers, "member_name", map(f"{prefix}{{}}".format, count()).__next__)


@pytest.mark.parametrize("state_every", [4_000, 10**9])
async def test_a_member_that_was_cut_off_for_long_agrees_with_the_others(
    queue: Queue, url: str, monkeypatch: pytest.MonkeyPatch, state_every: int
) -> None:
    _shorten(monkeypatch, state_every)
    async with relayed(url) as (relay, through):
        away, left = open_queue(QueueSettings(queue_url=through)).consumer(STREAM, "group", session_s=3.0), Follower()
        there, follower = queue.consumer(STREAM, "group", session_s=3.0), Follower()
        # The first by name, which is not to be the one that speaks for all while it knows nothing.
        _name(monkeypatch, "a")
        await away.start(left)
        await left.owns(PARTITIONS)
        relay.is_open = False
        relay.cut()
        _name(monkeypatch, "b")
        await there.start(follower)
        await follower.owns(PARTITIONS)
        connection, number = await Connection(address(url), "test").open(), 0
        before = await end_of(connection, logs.group_log(STREAM, "group"))
        while await start_of(connection, logs.group_log(STREAM, "group")) <= before:
            for _ in range(50):
                number += 1
                await there.commit({partition: Commit(offset=number) for partition in follower.owned})
        relay.is_open = True
        await left.owns(PARTITIONS // 2)

    assert left.owned.keys().isdisjoint(follower.owned)
    assert {one.offset for one in left.owned.values()} == {number}
    for part in (away, there, connection):
        await part.close()


async def test_a_member_knows_the_group_although_the_beginning_of_its_stream_was_cut_off(
    queue: Queue, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _shorten(monkeypatch, state_every=4_000)
    consumer, follower = queue.consumer(STREAM, "group", session_s=30.0), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    await consumer.commit({0: Commit(offset=0, note=b"early")})
    connection = await Connection(address(url), "test").open()

    number = 0
    while await start_of(connection, logs.group_log(STREAM, "group")) == 0:
        for _ in range(50):
            number += 1
            await consumer.commit({1: Commit(offset=0, note=b"%d" % number)})
    await consumer.close()

    other, again = queue.consumer(STREAM, "group", session_s=30.0), Follower()
    await other.start(again)
    await again.owns(PARTITIONS)
    assert (again.owned[0].note, again.owned[1].note) == (b"early", b"%d" % number)
    await other.close()
    await connection.close()


class Gaps(Follower):
    """Remembers where no record stands, and can wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: asyncio.Queue[tuple[int, int, int]] = asyncio.Queue()

    def gap(self, partition: int, start: int, end: int) -> None:
        self.found.put_nowait((partition, start, end))


async def test_what_stands_first_in_a_partition_waits_for_nobody(queue: Queue) -> None:
    consumer, follower = queue.consumer(STREAM, "group"), Gaps()
    await consumer.start(follower)

    found = {await follower.found.get() for _ in range(PARTITIONS)}

    assert found == {(number, 0, 1) for number in range(PARTITIONS)}
    await consumer.close()


async def test_records_that_a_policy_took_before_they_were_handled_are_told(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"x-max-length-bytes": 20_000, "x-stream-max-segment-size-bytes": 2_000}
    monkeypatch.setattr(logs, "_KIND", {"x-queue-type": "stream", **limits})
    queue = open_queue(QueueSettings(queue_url=url))
    await queue.ensure([STREAM], 1)
    producer, follower = queue.producer(), Follower()
    first = queue.consumer(STREAM, "group")
    await first.start(follower)
    await follower.owns(1)
    committed = (await producer.send(STREAM, record(0))).offset + 1
    await first.commit({0: Commit(offset=committed)})
    await first.close()

    connection = await Connection(address(url), "test").open()
    while (start := await start_of(connection, logs.partition_log(STREAM, 0))) <= committed:
        await asyncio.gather(*(producer.send(STREAM, record(number)) for number in range(50)))
    second = queue.consumer(STREAM, "group")
    with capture_logs() as told:
        await second.start(Follower())
        await fetch(second, 1)

    assert [(one["event"], one["position"], one["start"]) for one in told] == [("records_expired", committed, start)]
    for part in (producer, second, connection):
        await part.close()


async def test_a_partition_that_several_have_made_is_empty(queue: Queue, url: str) -> None:
    maker, inspector = Writer(address(url), "test"), queue.inspector()
    for number in range(PARTITIONS):
        await maker.make(logs.partition_log(STREAM, number), logs.arguments())

    empty = await inspector.bounds(STREAM)

    assert [one.start for one in empty.values()] == [one.end for one in empty.values()]
    producer = queue.producer()
    sent = await producer.send(STREAM, record(0))
    assert (await inspector.bounds(STREAM))[sent.partition].start == sent.offset
    for part in (producer, inspector, maker):
        await part.close()


async def test_where_a_partition_ends_is_known_however_short_it_is(queue: Queue, producer: Producer) -> None:
    inspector, ends, found = queue.inspector(), [], []

    for number in range(25):
        ends.append((await producer.send(STREAM, record(number))).offset + 1)
        found.append(max(one.end for one in (await inspector.bounds(STREAM)).values()))

    assert found == ends
    await inspector.close()


async def test_a_partition_that_is_shorter_than_what_was_finished_begins_anew_at_its_end(
    queue: Queue, producer: Producer, url: str
) -> None:
    consumer, follower = queue.consumer(STREAM, "group"), Follower()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    for number in range(9):
        last = await producer.send(STREAM, record(number))
    await consumer.commit({last.partition: Commit(offset=last.offset + 1, note=b"old")})
    await consumer.close()

    # As after a power cut: the group was further than the stream is.
    name, maker = logs.partition_log(STREAM, last.partition), Writer(address(url), "test")
    with closing(direct(url)) as connection:
        connection.channel().queue_delete(name)
    await maker.make(name, logs.arguments())
    again, found = queue.consumer(STREAM, "group"), Follower()
    with capture_logs() as told:
        await again.start(found)
        while found.told.count("lost") == 0:
            await again.fetch(1, 0.05)
    later = queue.producer()
    first = await later.send(STREAM, record(100))

    assert await fetch(again, 1) == [b"100"]
    assert [one["event"] for one in told] == ["stream_shorter"]
    # With the place of before, a worker would pass over what comes now.
    assert found.owned[last.partition] == Commit(offset=1)
    assert first.offset < last.offset
    await again.commit({last.partition: Commit(offset=first.offset + 1)})
    for part in (again, later, maker):
        await part.close()
