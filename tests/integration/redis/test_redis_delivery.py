"""Entries are handed out by a group of Redis: what its tools see through crashes, upgrades and refusals."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from forebay.queues.contract import Commit, Consumer, Producer, Queue, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.groups.contract import Stretch
from forebay.queues.opening import open_queue
from forebay.queues.redis import delivery, reading
from forebay.queues.redis.connection import RedisConnection, RedisStore, _digest
from forebay.queues.redis.reading import RedisLog
from forebay.queues.redis.streams import find
from forebay.queues.settings import QueueSettings
from tests.integration.queue_faults.relay import relayed
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, fetch, record, send_all
from tests.integration.queues.stage import Stage
from tests.redis.server import RedisServer, direct


class Tools:
    """What somebody sees of one log with Redis's own tools."""

    def __init__(self, client: Any, partition: int, group: str = "group") -> None:
        self.client, self.log, self.group = client, f"forebay:{{{STREAM}}}:log:{partition}", group

    def told(self, *names: str) -> list[Any]:
        """Of XINFO GROUPS."""
        [about] = [one for one in self.client.xinfo_groups(self.log) if one["name"].decode() == self.group]
        return [about[name] for name in names]

    def pending(self) -> list[tuple[int, str, int]]:
        """Offset, consumer and number of deliveries of each."""
        return [
            (int(one["message_id"].split(b"-")[0]), one["consumer"].decode(), one["times_delivered"])
            for one in self.client.xpending_range(self.log, self.group, "-", "+", 10_000)
        ]

    def consumers(self) -> list[str]:
        return [one["name"].decode() for one in self.client.xinfo_consumers(self.log, self.group)]


@pytest.fixture
def admin(redis_url: str) -> Iterator[Any]:
    with direct(redis_url) as client:
        yield client


async def _member(queue: Queue, group: str = "group") -> Consumer:
    consumer = queue.consumer(STREAM, group, session_s=60.0)
    await consumer.start(follower := Follower())
    await follower.owns(PARTITIONS)
    return consumer


def _numbers(*numbers: int) -> list[bytes]:
    return [str(number).encode() for number in numbers]


async def test_what_a_killed_worker_had_goes_to_the_next_owner_before_what_is_newer(
    queue: Queue, producer: Producer, stage: Stage, admin: Any
) -> None:
    partition = await send_all(producer, 10)
    tools = Tools(admin, partition)
    worker = stage.start("consume_forever.py", "victim", "1.0")
    told: list[str] = []
    while told.count("record") < 10:
        told.append((await stage.line())[1])
    [victim] = {consumer for _, consumer, _ in tools.pending()}
    worker.kill()
    worker.wait()
    newer = [await producer.send(STREAM, record(number)) for number in range(10, 15)]

    consumer = await _member(queue)
    found = await fetch(consumer, 15)
    pending = tools.pending()
    await consumer.commit({partition: Commit(offset=newer[-1].offset + 1)})

    assert found == _numbers(*range(15))
    [heir] = {name for _, name, _ in pending}
    assert heir != victim
    assert [(offset, times) for offset, _, times in pending] == [(at, 2 if at < 10 else 1) for at in range(15)]
    assert tools.pending() == []
    assert tools.told("lag", "pending") == [0, 0]
    assert tools.consumers() == [heir]
    await consumer.close()


async def test_what_a_cancelled_fetch_was_handed_comes_with_the_next(
    queue: Queue, producer: Producer, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, given, goes_on = await _member(queue), asyncio.Event(), threading.Event()
    loop, deliver = asyncio.get_running_loop(), RedisLog.read

    def slow(*arguments: Any) -> list[Stretch]:
        stretches = deliver(*arguments)
        loop.call_soon_threadsafe(given.set)
        goes_on.wait(30)
        return stretches

    monkeypatch.setattr(RedisLog, "read", slow)
    partition = await send_all(producer, 5)
    fetching = asyncio.create_task(consumer.fetch(10, 30.0))
    await given.wait()
    fetching.cancel()
    goes_on.set()

    assert await fetch(consumer, 5) == _numbers(*range(5))
    assert [times for _, _, times in Tools(admin, partition).pending()] == [2] * 5
    await consumer.close()


async def test_a_read_that_holds_as_many_bytes_as_it_may_leaves_the_rest_for_the_next(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_READ_BYTES", 2500)
    producer, consumer = queue.producer(), await _member(queue)
    sizes = [1000, 1000, 1000, 9000, 10, 10]
    for size in sizes:
        await producer.send(STREAM, Record(key="portal", value=b"x" * size, timestamp_ms=0))

    found = [[len(one.value) for one in await consumer.fetch(100, 30.0)] for _ in range(4)]

    assert found == [[1000, 1000], [1000], [9000], [10, 10]]
    for part in (producer, consumer):
        await part.close()


@pytest.mark.parametrize("before", ["none", "behind"])
async def test_a_group_of_a_forebay_that_knew_nothing_of_redis_groups_goes_on_at_its_commit(
    queue: Queue, producer: Producer, admin: Any, before: str
) -> None:
    partition = await send_all(producer, 10)
    tools = Tools(admin, partition)
    await (await _member(queue)).close()
    if before == "none":
        admin.xgroup_destroy(tools.log, "group")
    admin.hset(f"forebay:{{{STREAM}}}:offsets", f"{partition}:group", 4)

    consumer = await _member(queue)
    told = tools.told("last-delivered-id", "entries-read", "lag")
    found = await fetch(consumer, 6)

    assert told == [b"4-0", 4, 6]
    assert found == _numbers(*range(4, 10))
    assert tools.told("entries-read", "lag") == [10, 0]
    await consumer.close()


async def test_the_lag_is_told_again_at_the_end_where_numbers_were_left_out(
    queue: Queue, producer: Producer, admin: Any
) -> None:
    partition = await send_all(producer, 4)
    admin.hset(f"forebay:{{{STREAM}}}:ends", f"life:{partition}", "another")
    await send_all(producer, 4)
    admin.hset(f"forebay:{{{STREAM}}}:offsets", f"{partition}:group", 2)

    consumer, tools = await _member(queue), Tools(admin, partition)
    before = tools.told("entries-read", "lag")
    found = await fetch(consumer, 6)

    assert before == [None, None]
    assert found == _numbers(2, 3, 0, 1, 2, 3)
    assert tools.told("entries-read", "lag") == [8, 0]
    await consumer.close()


@pytest.mark.parametrize(("deleted", "without_event"), [(["about"], 0), (["about"], 5), (["about", "ends"], 0)])
async def test_a_stream_of_which_only_the_logs_are_left_goes_on_when_it_is_made_again(
    queue: Queue, producer: Producer, admin: Any, deleted: list[str], without_event: int
) -> None:
    partition = await send_all(producer, 3)
    # Numbers of a batch that failed half way: a group may have passed them, and would pass over what gets them now.
    admin.hincrby(f"forebay:{{{STREAM}}}:ends", partition, without_event)
    admin.delete(*(f"forebay:{{{STREAM}}}:{key}" for key in deleted))
    await queue.ensure([STREAM], PARTITIONS)
    again = queue.producer()

    position = await again.send(STREAM, record(3))
    found = await fetch(consumer := await _member(queue), 4)

    assert position.offset == 3 + without_event
    assert found == _numbers(*range(4))
    for part in (again, consumer):
        await part.close()


@pytest.mark.parametrize(("take", "gone"), [(("XTRIM", "MAXLEN", 2), 3), (("UNLINK",), 5)])
async def test_records_that_somebody_has_deleted_before_they_were_handled_are_told(
    queue: Queue, producer: Producer, admin: Any, take: tuple[str | int, ...], gone: int
) -> None:
    partition = await send_all(producer, 5)
    admin.execute_command(take[0], f"forebay:{{{STREAM}}}:log:{partition}", *take[1:])
    # Numbers that a server that came back has left out are no records, and not told.
    admin.hset(f"forebay:{{{STREAM}}}:ends", f"life:{partition}", "another")
    last = await producer.send(STREAM, record(5))
    consumer = await _member(queue)

    with capture_logs() as logs:
        found = await fetch(consumer, 6 - gone)

    assert found == _numbers(*range(gone, 6))
    assert last.offset > 1_000_000
    [told] = [one for one in logs if one["event"] == "records_gone"]
    assert (told["stream"], told["partition"], told["records"]) == (STREAM, partition, gone)
    await consumer.close()


async def test_a_commit_behind_the_last_record_says_that_all_was_read(
    queue: Queue, producer: Producer, admin: Any
) -> None:
    partition = await send_all(producer, 4)
    consumer, tools = await _member(queue), Tools(admin, partition)

    await consumer.commit({partition: Commit(offset=1000)})

    assert tools.told("last-delivered-id", "entries-read", "lag") == [b"1000-0", 4, 0]
    await consumer.close()


async def test_what_the_tools_tell_outlives_a_restart(redis_servers: Callable[..., RedisServer]) -> None:
    server = redis_servers()
    queue = open_queue(QueueSettings(queue_url=server.url()))
    await queue.ensure([STREAM], PARTITIONS)
    producer = queue.producer()
    partition = await send_all(producer, 20)
    consumer = await _member(queue)
    await fetch(consumer, 15)

    await asyncio.to_thread(server.kill)
    server.start()
    await asyncio.to_thread(server.wait_ready)

    with direct(server.url()) as admin:
        told = Tools(admin, partition).told("pending", "last-delivered-id", "entries-read", "lag")
    assert told == [15, b"14-1", 15, 5]
    for part in (consumer, producer, queue):
        await part.close()


async def test_a_full_memory_hands_out_what_is_there_and_acknowledges_it(
    redis_servers: Callable[..., RedisServer],
) -> None:
    server = redis_servers()
    queue = open_queue(QueueSettings(queue_url=server.url()))
    await queue.ensure([STREAM], PARTITIONS)
    producer = queue.producer()
    partition = await send_all(producer, 100)
    with direct(server.url()) as admin:
        admin.config_set("maxmemory", "1")

        consumer = await _member(queue)
        found = await fetch(consumer, 100)
        await consumer.commit({partition: Commit(offset=100)})

        assert found == _numbers(*range(100))
        assert Tools(admin, partition).told("pending", "lag") == [0, 0]
    for part in (consumer, producer, queue):
        await part.close()


async def test_one_step_acknowledges_no_more_than_it_may(
    store: RedisStore, queue: Queue, producer: Producer, admin: Any
) -> None:
    partition = await send_all(producer, 7)
    consumer, tools = await _member(queue), Tools(admin, partition)
    await fetch(consumer, 7)
    connection = store.connect()
    stream = find(connection, STREAM)
    admin.hset(stream.keys.offsets, f"{partition}:group", 6)

    left, pending = [], []
    for _ in range(3):
        left.append(_settle(connection, partition))
        pending.append(len(tools.pending()))

    assert (left, pending) == ([0, 0, 3], [4, 1, 1])
    connection.close()
    await consumer.close()


def _settle(connection: RedisConnection, partition: int) -> int:
    stream = find(connection, STREAM)
    keys = stream.keys
    names = [keys.about, keys.leases("group"), keys.offsets, keys.log(partition)]
    left: int = connection.run(delivery.SETTLE, names, stream.id, "group", 3, partition)[1]
    return left


async def test_a_commit_that_can_not_be_acknowledged_is_stored_and_made_up_for_by_the_next(
    url: str, queue: Queue, producer: Producer, admin: Any
) -> None:
    partition = await send_all(producer, 5)
    tools = Tools(admin, partition)
    async with relayed(url, "", _digest(delivery.SETTLE).encode()) as (relay, through):
        consumer = await _member(open_queue(QueueSettings(queue_url=through)))
        await fetch(consumer, 5)

        relay.lose_commit = True
        with capture_logs() as logs:
            await consumer.commit({partition: Commit(offset=3)})
        pending = len(tools.pending())
        await consumer.commit({partition: Commit(offset=4)})

        assert [log["event"] for log in logs] == ["not_acknowledged"]
        assert pending == 5
        assert [offset for offset, *_ in tools.pending()] == [4]
        await consumer.close()


async def test_a_user_who_may_not_read_by_groups_is_told_which_rights_it_needs(
    url: str, queue: Queue, producer: Producer, admin: Any
) -> None:
    await send_all(producer, 1)
    admin.execute_command("ACL", "SETUSER", "reads", "on", ">hush", "~*", "&*", "+@all", "-xautoclaim")
    try:
        limited = open_queue(QueueSettings(queue_url=url.replace(url.split("//")[1].split("@")[0], "reads:hush")))
        consumer = await _member(limited)
        with pytest.raises(QueueUnavailable, match=r"docs/redis\.md"):
            await consumer.fetch(1, 5.0)
        await consumer.close()
    finally:
        admin.acl_deluser("reads")
