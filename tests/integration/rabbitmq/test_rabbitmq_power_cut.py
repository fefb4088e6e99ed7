"""A node that loses its power: what its system had not written of the streams is gone, and is there again."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from struct import Struct

import pytest
from structlog.testing import capture_logs

from forebay.queues.contract import Commit, Consumer, Producer, Queue, Record
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.rabbitmq import lane
from forebay.queues.rabbitmq.logs import group_log, partition_log
from forebay.queues.settings import QueueSettings
from tests.integration.queues.members import PARTITIONS, STREAM, Follower
from tests.integration.rabbitmq.test_rabbitmq_server_faults import DECLARED_S
from tests.missing import entered
from tests.rabbitmq.server import Server

#: Its node starts twice in the first, which takes long on a machine that is busy.
pytestmark = pytest.mark.timeout(400)

KEYS, EACH = 12, 60

#: Of a group's stream, which loses some of them.
_ENTRIES = 60

#: Seconds in which a group has surely come to rest: it takes a session, and one that waits for a lost end does for 30.
_SETTLED_S = 120.0

#: The head of a segment, and that of a chunk: how long its data are, and what stands behind them.
_SEGMENT_BYTES = 8
_LENGTHS = Struct(">36xII4x")

Kept = dict[tuple[int, int], tuple[str, bytes]]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with ExitStack() as running:
        yield entered(running, Server)


@pytest.fixture
async def queue(server: Server) -> AsyncIterator[Queue]:
    queue = open_queue(QueueSettings(queue_url=server.empty()))
    await queue.ensure([STREAM], PARTITIONS)
    yield queue
    await queue.close()


async def _power_cut(server: Server, left: dict[str, float]) -> None:
    """Kill the node, and leave of these streams so much as its system had written."""
    await asyncio.sleep(DECLARED_S)
    await asyncio.to_thread(server.kill)
    for queue, part in left.items():
        name = queue.replace(":", "_").replace(".", "_")
        cut = 0
        for segment in server.folder.glob(f"mnesia/*/stream/__{name}_[0-9]*/*.segment"):
            os.truncate(segment, _cut(segment.read_bytes(), part))
            cut += 1
        assert cut == 1, queue
    server.start()
    await asyncio.to_thread(server.wait_ready)


def _cut(segment: bytes, part: float) -> int:
    """Where it ends: in the middle of a chunk, but not in what stands behind its data.

    The sum that is compared on the way up is that of the data. Over the rest, which is filled up with zeros then,
    RabbitMQ 3.10 stumbles for ever.
    """
    cut, start = int(len(segment) * part), _SEGMENT_BYTES
    while start < cut:
        data, trailer = _LENGTHS.unpack_from(segment, start)
        behind: int = start + _LENGTHS.size + data
        if cut <= behind + trailer:
            return min(cut, behind - 1)
        start = behind + trailer
    return cut


async def _sent(producer: Producer, key: str, numbers: range) -> Kept:
    """One after the other, each until it is kept; where they are."""
    found: Kept = {}
    for number in numbers:
        while True:
            try:
                position = await producer.send(STREAM, Record(key=key, value=b"%d" % number, timestamp_ms=number))
            except QueueUnavailable:
                await asyncio.sleep(0.02)
            else:
                break
        found[position.partition, position.offset] = (key, b"%d" % number)
    return found


async def _all_sent(producer: Producer, numbers: range) -> Kept:
    found: Kept = {}
    for one in await asyncio.gather(*(_sent(producer, f"portal{key}", numbers) for key in range(KEYS))):
        found |= one
    return found


async def _found(queue: Queue) -> Kept:
    """All that is there, once the node has its streams."""
    inspector, found = queue.inspector(), dict[tuple[int, int], tuple[str, bytes]]()
    for number in range(PARTITIONS):
        while True:
            start = 1 + max((at for on, at in found if on == number), default=-1)
            try:
                records = await inspector.read(STREAM, number, start, 1000)
            except QueueUnavailable:
                await asyncio.sleep(0.05)
                continue
            if not records:
                break
            found |= {(number, one.offset): (one.key, one.value) for one in records}
    await inspector.close()
    return found


async def _started(queue: Queue, follower: Follower) -> Consumer:
    """A consumer that has come in."""
    while True:
        consumer = queue.consumer(STREAM, "group", session_s=3.0)
        try:
            await consumer.start(follower)
        except QueueUnavailable:
            await consumer.close()
            await asyncio.sleep(0.05)
        else:
            return consumer


async def _fetched(consumer: Consumer, count: int) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    while len(found) < count:
        try:
            found += [(one.key, one.value) for one in await consumer.fetch(1000, 30.0)]
        except QueueUnavailable:
            await asyncio.sleep(0.05)
    return found


LEFT = {partition_log(STREAM, number): part for number, part in enumerate([0.9, 0.5, 0.2, 0.02])}


async def test_what_was_confirmed_is_there_again_in_its_place(server: Server, queue: Queue) -> None:
    staying, gone, follower = queue.producer(), queue.producer(), Follower()
    kept = await _all_sent(gone, range(EACH))
    kept |= await _all_sent(staying, range(EACH, 2 * EACH))
    await gone.close()
    consumer = queue.consumer(STREAM, "group", session_s=60.0)
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    assert len(await _fetched(consumer, len(kept))) == len(kept)
    ends = {number: 1 + max(at for on, at in kept if on == number) for number in range(PARTITIONS)}
    await consumer.commit({number: Commit(offset=end) for number, end in ends.items()})

    await _power_cut(server, LEFT)
    later = await _all_sent(staying, range(2 * EACH, 3 * EACH))

    assert await _found(queue) == kept | later
    # It had finished all that was lost, and gets what comes behind it.
    assert sorted(await _fetched(consumer, len(later))) == sorted(later.values())
    assert "lost" not in follower.told
    for part in (consumer, staying):
        await part.close()


async def test_a_worker_whose_place_is_gone_has_it_made_again_when_nobody_else_does(
    server: Server, queue: Queue
) -> None:
    producer, follower = queue.producer(), Follower()
    kept = await _all_sent(producer, range(EACH))
    await producer.close()
    first = queue.consumer(STREAM, "group")
    await first.start(follower)
    await follower.owns(PARTITIONS)
    ends = {number: 1 + max(at for on, at in kept if on == number) for number in range(PARTITIONS)}
    await first.commit({number: Commit(offset=end) for number, end in ends.items()})
    await first.close()

    await _power_cut(server, LEFT)
    found = Follower()
    with capture_logs() as told:
        second = await _started(queue, found)
        await found.owns(PARTITIONS)
        while await _found(queue) != kept:
            try:
                assert await second.fetch(1, 0.1) == []
            except QueueUnavailable:
                await asyncio.sleep(0.05)

    assert "stream_shorter" not in {one["event"] for one in told}
    later = queue.producer()
    more = await _all_sent(later, range(EACH, EACH + 5))
    assert sorted(await _fetched(second, len(more))) == sorted(more.values())
    for part in (second, later):
        await part.close()


async def test_a_group_whose_stream_has_lost_its_end_gets_records_again_and_none_is_passed_over(
    server: Server, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long a member waits for what it has read to be there again, before it reads all anew.
    monkeypatch.setattr(lane, "_KNOWN_S", 2.0)
    producer, follower = queue.producer(), Follower()
    consumer = queue.consumer(STREAM, "group", session_s=3.0)
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    kept = await _all_sent(producer, range(EACH))
    assert len(await _fetched(consumer, len(kept))) == len(kept)
    committed: dict[int, list[int]] = {number: [0] for number in range(PARTITIONS)}
    for on, at in sorted(kept):
        await consumer.commit({on: Commit(offset=at + 1)})
        committed[on].append(at + 1)

    await _power_cut(server, {**LEFT, group_log(STREAM, "group"): 0.6})
    later = await _all_sent(producer, range(EACH, EACH + 5))
    await consumer.close()
    other = await _started(queue, found := Follower())
    await found.owns(PARTITIONS)
    begun = {on: one.offset for on, one in found.owned.items()}

    assert all(offset in committed[on] for on, offset in begun.items())
    assert any(offset < committed[on][-1] for on, offset in begun.items())
    missing_ = {at: one for at, one in (kept | later).items() if at[1] >= begun[at[0]]}
    assert sorted(await _fetched(other, len(missing_))) == sorted(missing_.values())
    for part in (other, producer):
        await part.close()


async def test_who_waits_for_the_lost_end_of_its_group_s_stream_does_not_take_what_others_write_there_for_it(
    server: Server, queue: Queue
) -> None:
    """With another idea of the group than all others it would have their partitions, and they its own."""
    waiting, follower = queue.consumer(STREAM, "group", session_s=3.0), Follower()
    await waiting.start(follower)
    await follower.owns(PARTITIONS)
    for _ in range(_ENTRIES):
        await waiting.commit({0: Commit(offset=0)})

    await _power_cut(server, {group_log(STREAM, "group"): 0.6})
    other = await _started(queue, found := Follower())
    for _ in range(_ENTRIES):
        # Whether they count or not, they stand there.
        with suppress(QueueError):
            await other.commit({0: Commit(offset=0)})
        await asyncio.sleep(0)

    async with asyncio.timeout(_SETTLED_S):
        while not _is_shared(follower, found):
            await asyncio.sleep(0.05)
    for part in (waiting, other):
        await part.close()


def _is_shared(one: Follower, other: Follower) -> bool:
    """Whether both have partitions, and each partition is had by one of them."""
    return bool(one.owned and other.owned) and sorted([*one.owned, *other.owned]) == list(range(PARTITIONS))
